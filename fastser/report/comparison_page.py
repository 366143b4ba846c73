"""Files and lines of a comparison of two results folders."""

from collections.abc import Sequence
from pathlib import Path

from fastser.evaluation.statistics import SIGNIFICANCE
from fastser.report.cells import difference_text, signed_range
from fastser.report.comparison import ComparedCell, Folder
from fastser.report.markdown import markdown_table
from fastser.runtime.counted import counted
from fastser.runtime.csv_file import csv_file
from fastser.runtime.files import atomic_write

COMPARISON_COLUMNS = (
    "task",
    "corpus",
    "model",
    "augmentation",
    "condition",
    "uar_a",
    "uar_b",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "n_runs",
)


def write_comparison(
    out: Path, first: Folder, second: Folder, found: Sequence[ComparedCell], settings: Sequence[tuple[str, str, str]]
) -> Path:
    """Write `comparison.csv` and `comparison.md`.

    Args:
        out: Folder, which is made if it is not there.
        first: Folder A.
        second: Folder B.
        found: Compared cells.
        settings: Name and both values of settings that differ.

    Returns:
        Path of `comparison.md`.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "comparison.csv"
    with csv_file(path, COMPARISON_COLUMNS) as write_row:
        for cell in found:
            ends = cell.difference
            percents = [cell.first, cell.second, cell.value, *((ends.low, ends.high) if ends else ())]
            texts = [f"{100 * percent:.2f}" for percent in percents]
            texts += [f"{ends.p:.4f}", f"{cell.p_holm:.4f}"] if ends else [""] * 4
            where = (cell.task, cell.corpus, cell.model, cell.augmentation, cell.condition)
            write_row((*where, *texts, cell.runs))
    with atomic_write(out / "comparison.md") as part:
        text = _page(first, second, found, settings)
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
    return out / "comparison.md"


def comparison_lines(first: Folder, second: Folder, found: Sequence[ComparedCell]) -> list[str]:
    """Return the lines for the terminal: the numbers of runs, and the cells without those of supplements."""
    tested = [cell for cell in found if cell.difference]
    significant = [cell for cell in tested if cell.p_holm <= SIGNIFICANCE]
    further = [cell for cell in found if cell.in_supplement]
    lines = [
        *_counts(first, second),
        *(
            f"{cell.corpus}, {cell.condition}: {cell.model}, {cell.augmentation}: {100 * cell.first:.1f} -> "
            f"{100 * cell.second:.1f}, {_text(cell)}"
            for cell in found
            if not cell.in_supplement
        ),
        f"significant (Holm): {len(significant)} of {counted(len(tested), 'difference')}",
    ]
    if further:
        lines.append(f"only in comparison.csv: {counted(len(further), 'cell')} that the paper's tables lack")
    return lines


def _counts(first: Folder, second: Folder) -> list[str]:
    shared = len(first.runs.keys() & second.runs.keys())
    lines = [
        f"A {first.name}: {counted(len(first.runs), 'run')}, {len(first.runs) - shared} without a partner",
        f"B {second.name}: {counted(len(second.runs), 'run')}, {len(second.runs) - shared} without a partner",
    ]
    aside = [(letter, folder.set_aside) for letter, folder in (("A", first), ("B", second)) if folder.set_aside]
    return lines + [f"{letter}: left out with rarer settings or seeds: {counted(n, 'run')}" for letter, n in aside]


def _text(cell: ComparedCell) -> str:
    """Return the difference in points, with interval and p-value."""
    text = difference_text(cell.value, cell.difference)
    return f"{text}, p {cell.difference.p:.3f}" if cell.difference else text


def _page(
    first: Folder, second: Folder, found: Sequence[ComparedCell], settings: Sequence[tuple[str, str, str]]
) -> str:
    lines = [
        (
            cell.corpus,
            cell.model,
            cell.augmentation,
            cell.condition,
            f"{100 * cell.first:.1f}",
            f"{100 * cell.second:.1f}",
            *_cells(cell),
            str(cell.runs),
        )
        for cell in found
    ]
    header = ("corpus", "model", "augmentation", "condition", "A", "B", "B - A", "95 % interval", "p", "p (Holm)", "n")
    parts = [
        "# Comparison of two results folders",
        "\n".join(f"- {line}" for line in _counts(first, second)),
        "Numbers are the UAR in percent, mean over the n paired runs. Runs are paired by task, corpus, model, "
        "augmentation, fold and repeat, where both tested as many utterances of each class. The interval is about new "
        "speakers and, with several repeats, new trainings. p is that of a permutation test over speakers, Holm's "
        "correction is over all lines that have one. Bold: significant at 5 % after the correction. A line without an "
        "interval has a single speaker, a repeat without all folds, or Majority, whose answer is constant.",
        markdown_table(header, lines, left=4),
        "## Settings, seeds and versions that differ",
        markdown_table(("name", "A", "B"), settings, left=3) if settings else "None.",
    ]
    return "\n\n".join(parts) + "\n"


def _cells(cell: ComparedCell) -> tuple[str, str, str, str]:
    value, ends = f"{100 * cell.value:+.1f}", cell.difference
    if ends is None:
        return value, "", "", ""
    value = f"**{value}**" if cell.p_holm <= SIGNIFICANCE else value
    return value, signed_range(ends), f"{ends.p:.3f}", f"{cell.p_holm:.3f}"
