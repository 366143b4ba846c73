"""Markdown tables."""

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from fastser.evaluation.metrics import METRICS
from fastser.report.aggregation import Score
from fastser.report.cells import (
    BELOW,
    best_and_below,
    interval_text,
    model_title,
    ours_text,
    paper_corpus,
    paper_text,
    runs_text,
)
from fastser.report.tables import Row, on_one_axis
from fastser.report.yardstick_difference import against_yardstick
from fastser.training.yardsticks import LOWEST_USEFUL, YARDSTICKS


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table with aligned pipes. The first `left` columns are aligned left, the others right."""
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


def paper_beside_ours(rows: Sequence[Row], in_paper: bool = True) -> str:
    """Return a table with a line per model and augmentation.

    Columns are the paper's number and ours per condition, and the number of runs per task.

    Args:
        rows: Rows of the table.
        in_paper: Whether the paper has this table.
    """
    cells = {(row.model, row.augmentation, row.task, row.condition): row for row in rows}
    systems = list(dict.fromkeys((row.model, row.augmentation) for row in rows))
    conditions = list(dict.fromkeys((row.task, row.condition) for row in rows if not row.quoted))
    titles = {(row.task, row.condition): row.title for row in rows if not row.quoted}
    tasks = list(dict.fromkeys(task for task, _ in conditions))
    paper_knows = any(row.paper_uar is not None for row in rows)
    columns = [("model", [_italic_title(model) for model, _ in systems])]
    if any(augmentation not in ("none", "") for _, augmentation in systems):
        columns.append(("augmentation", [augmentation for _, augmentation in systems]))
    left = len(columns)
    if in_paper and not paper_knows:
        unknown = ["-" if model in YARDSTICKS else "n/a" for model, _ in systems]
        columns.append((f"paper ({paper_corpus(tasks[0], rows)})", unknown))
    for task in tasks:
        for condition in (condition for of_task, condition in conditions if of_task == task):
            column = [cells.get((*system, task, condition)) for system in systems]
            comma = f", {title}" if (title := titles[task, condition]) else ""
            corpus = f" ({next(row.corpus for row in column if row)})" if len(tasks) > 1 else ""
            if paper_knows:
                columns.append((f"paper{comma} ({paper_corpus(task, rows)})", [paper_text(row) for row in column]))
            columns.append((f"ours{comma}{corpus}", _ours_cells(column)))
        runs = [[row for row in rows if (row.model, row.augmentation, row.task) == (*s, task)] for s in systems]
        columns.append(("n", [runs_text(line) for line in runs]))
    return markdown_table([title for title, _ in columns], zip(*(column for _, column in columns), strict=True), left)


def _italic_title(name: str) -> str:
    """Return the title of a row, of a yardstick in italics."""
    title = model_title(name)
    return f"*{title}*" if name in YARDSTICKS else title


def _ours_cells(column: Sequence[Row | None]) -> list[str]:
    """Return one column of our numbers, with the best network in bold and those below `LOWEST_USEFUL` marked."""
    best, below = best_and_below(column)
    return [_ours_cell(row, best, below) for row in column]


def _ours_cell(row: Row | None, best: Collection[tuple[str, str]], below: Collection[tuple[str, str]]) -> str:
    if row is None or row.quoted:
        return "-"
    if row.measured is None:
        return "not run"
    text = ours_text(row.measured)
    text = f"**{text}**" if row.system in best else text
    return f"{text} {BELOW}" if row.system in below else text


def details_table(rows: Sequence[Row]) -> str:
    """Return further measures of every cell that has a finished run."""
    own = [metric for metric in METRICS.values() if metric.name not in ("uar", "accuracy")]
    header = (
        "model",
        "augmentation",
        "condition",
        "corpus",
        "UAR",
        "95 % interval",
        f"minus {YARDSTICKS[LOWEST_USEFUL].title} (95 % interval)",
        "std over folds",
        "pooled UAR",
        "pooled accuracy",
    )
    return markdown_table(
        (*header, *(metric.title for metric in own)),
        [
            (
                _italic_title(row.model),
                row.augmentation,
                row.condition,
                row.corpus,
                f"{100 * ours.mean:.1f}",
                interval_text(ours),
                difference,
                "" if ours.fold_std is None else f"{100 * ours.fold_std:.1f}",
                f"{100 * ours.pooled_uar:.1f}",
                f"{100 * ours.accuracy:.1f}",
                *(f"{100 * float(np.mean(ours.metrics[metric.name])):.1f}" for metric in own),
            )
            for row, difference in zip(rows, against_yardstick(rows), strict=True)
            if (ours := row.measured)
        ],
        left=4,
    )


def side_by_side(rows: Sequence[Row]) -> str:
    """Return our numbers with a line per model and augmentation and a column per condition; empty if none is run.

    Of several conditions with the same level, such as scenes at an SNR, only those with the lowest level are shown.
    """
    measured = [row for row in rows if row.measured]
    if not measured:
        return ""
    if not on_one_axis(measured):
        lowest = min(row.level for row in measured if row.level is not None)
        measured = [row for row in measured if row.level in (None, lowest)]
    titles = {row.condition: row.title for row in measured}
    cells = {(row.model, row.augmentation, row.condition): row for row in measured}
    systems = list(dict.fromkeys((model, augmentation) for model, augmentation, _ in cells))
    columns = [_ours_cells([cells.get((*system, condition)) for system in systems]) for condition in titles]
    return markdown_table(
        ["model", "augmentation", *titles.values()],
        [
            [_italic_title(model), augmentation, *line]
            for (model, augmentation), *line in zip(systems, *columns, strict=True)
        ],
        left=2,
    )


def recall_table(score: Score, classes: Sequence[str]) -> str:
    """Return a confusion matrix with the recall of each class."""
    lines = []
    for index, (name, counts) in enumerate(zip(classes, score.confusion.tolist(), strict=True)):
        recall = f"{100 * counts[index] / sum(counts):.1f}" if sum(counts) else "-"
        lines.append([name, *map(str, counts), recall])
    return markdown_table(["truth", *classes, "recall (%)"], lines)
