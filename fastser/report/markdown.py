"""The rows of a table, laid out in Markdown."""

from collections.abc import Iterable, Sequence

from fastser.data.corpora.base import PAPER_CLASSES
from fastser.experiment.grid import MODELS, noise_parts
from fastser.report.aggregation import Summary
from fastser.report.published import published
from fastser.report.tables import Row

CONDITION_TITLES = {"clean": "", "fgsm": "FGSM", "bim": "BIM", "cross-corpus": ""}
"""How column headers write a condition; noise conditions are written as their scene and SNR."""


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Lay out a Markdown table with aligned pipes; the first `left` columns are set left, the others right."""
    lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in (header, *rows)]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(header))]
    rule = ["-" * width if column < left else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    padded = [
        [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:]))


def paper_beside_ours(rows: Sequence[Row]) -> str:
    """A line per model and augmentation; per condition the paper's number and ours, per task the number of runs."""
    cells = {(row.model, row.augmentation, row.task, row.condition): row for row in rows}
    systems = list(dict.fromkeys((row.model, row.augmentation) for row in rows))
    conditions = list(dict.fromkeys((row.task, row.condition) for row in rows if row.model in MODELS))
    tasks = list(dict.fromkeys(task for task, _ in conditions))
    paper_knows = any(row.paper_uar is not None for row in rows)
    columns = [("model", [MODELS.get(model, f"{model} (quoted)") for model, _ in systems])]
    if any(augmentation not in ("none", "") for _, augmentation in systems):
        columns.append(("augmentation", [augmentation for _, augmentation in systems]))
    left = len(columns)
    if not paper_knows:
        columns.append((f"paper ({published().corpora[tasks[0]]})", ["n/a"] * len(systems)))
    for task in tasks:
        for condition in (condition for of_task, condition in conditions if of_task == task):
            column = [cells.get((*system, task, condition)) for system in systems]
            comma = f", {title}" if (title := _condition_title(condition)) else ""
            corpus = f" ({next(row.corpus for row in column if row)})" if len(tasks) > 1 else ""
            if paper_knows:
                columns.append((f"paper{comma} ({published().corpora[task]})", [_paper_cell(row) for row in column]))
            columns.append((f"ours{comma}{corpus}", _ours_cells(column)))
        runs = [[row for row in rows if (row.model, row.augmentation, row.task) == (*s, task)] for s in systems]
        columns.append(("n", [_runs_cell(line) for line in runs]))
    return markdown_table([title for title, _ in columns], zip(*(column for _, column in columns), strict=True), left)


def _condition_title(condition: str) -> str:
    """How a column header writes a condition: "noise-kitchen-0db" is "kitchen, 0 dB"."""
    if (parts := noise_parts(condition)) is None:
        return CONDITION_TITLES.get(condition, condition)
    scene, snr = parts
    return f"{scene}, {snr:g} dB" if scene else f"{snr:g} dB"


def _paper_cell(row: Row | None) -> str:
    if row is None:
        return "-"
    return "n/a" if row.paper_uar is None else _plus_minus(row.paper_uar, row.paper_std)


def _ours_cells(column: Sequence[Row | None]) -> list[str]:
    """One column of our numbers, the best in bold."""
    means = [round(100 * row.measured.mean, 1) if row and row.measured else None for row in column]
    best = max((mean for mean in means if mean is not None), default=None)
    texts = []
    for row, mean in zip(column, means, strict=True):
        if row is None or row.model not in MODELS:
            texts.append("-")
        elif mean is None or row.measured is None:
            texts.append("not run")
        else:
            std = None if row.measured.std is None else 100 * row.measured.std
            texts.append(f"**{_plus_minus(mean, std)}**" if mean == best else _plus_minus(mean, std))
    return texts


def _runs_cell(rows: Sequence[Row]) -> str:
    planned = [row.ours for row in rows if row.ours]
    if not planned:
        return "-"
    fewest = min(planned, key=lambda summary: summary.finished)
    if not fewest.complete:
        repeats = f"{fewest.repeats} of {fewest.planned_repeats} repeats"
        return f"{repeats}, incomplete ({fewest.finished} of {fewest.planned} trainings)"
    return f"{fewest.repeats} x {len(fewest.by_fold)}"


def _plus_minus(percent: float, std: float | None) -> str:
    return f"{percent:.1f}" if std is None else f"{percent:.1f} ± {std:.1f}"


def details_table(rows: Sequence[Row]) -> str:
    """The further measures of every cell that has a finished training."""
    header = ("model", "augmentation", "condition", "corpus", "UAR", "std over folds", "pooled UAR", "accuracy")
    return markdown_table(
        header,
        [
            (
                MODELS[row.model],
                row.augmentation,
                row.condition,
                row.corpus,
                f"{100 * ours.mean:.1f}",
                "" if ours.fold_std is None else f"{100 * ours.fold_std:.1f}",
                f"{100 * ours.pooled_uar:.1f}",
                f"{100 * ours.accuracy:.1f}",
            )
            for row in rows
            if (ours := row.measured)
        ],
        left=4,
    )


def scenes_table(rows: Sequence[Row]) -> str:
    """Table 2 by noise scene at the lowest SNR; empty if no scene was tested apart."""
    measured = [(row, *parts) for row in rows if row.measured and (parts := noise_parts(row.condition))]
    if not measured:
        return ""
    lowest = min(snr for _, _, snr in measured)
    cells = {(row.model, row.augmentation, scene): row for row, scene, snr in measured if snr == lowest}
    systems = list(dict.fromkeys((model, augmentation) for model, augmentation, _ in cells))
    scenes = sorted({scene for *_, scene in cells})
    columns = [_ours_cells([cells.get((*system, scene)) for system in systems]) for scene in scenes]
    return markdown_table(
        ["model", "augmentation", *(f"{scene}, {lowest:g} dB" for scene in scenes)],
        [[MODELS[model], augmentation, *line] for (model, augmentation), *line in zip(systems, *columns, strict=True)],
        left=2,
    )


def recall_table(summary: Summary) -> str:
    """A confusion matrix with the recall of each emotion."""
    lines = []
    for emotion, counts in zip(PAPER_CLASSES, summary.confusion.tolist(), strict=True):
        recall = f"{100 * counts[PAPER_CLASSES.index(emotion)] / sum(counts):.1f}" if sum(counts) else "-"
        lines.append([emotion, *map(str, counts), recall])
    return markdown_table(["truth", *PAPER_CLASSES, "recall (%)"], lines)
