"""Files of a robustness test: Markdown, CSV, LaTeX and posteriors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastser.report.latex import escaped
from fastser.report.markdown import markdown_table
from fastser.runtime.csv_file import csv_file
from fastser.runtime.files import atomic_write
from fastser.runtime.text_table import text_table

if TYPE_CHECKING:
    from fastser.robustness.result import Comparison, Evaluation

HOW_TO_READ = """**UAR** is the mean recall of the classes, in percent. Its **95 % interval** is a studentised
bootstrap over speakers: it is about new speakers of the same kind, not about these. **Change** is the UAR minus that of
clean speech, with its interval, paired by utterance. **p** is the chance of a change at least this large if the
condition changed nothing: the two conditions are exchanged for whole speakers, and the values are corrected for the
number of conditions (Holm). **Unchanged** is the share of utterances whose recognised class is that of
clean speech, right or wrong: under an attack mostly those that were wrong already.
"""

CSV_COLUMNS = (
    "model",
    "corpus",
    "condition",
    "uar",
    "uar_low",
    "uar_high",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "change",
    "change_low",
    "change_high",
    "p",
    "unchanged",
    "utterances",
    "speakers",
)

COMPARISON_COLUMNS = ("condition", "difference", "low", "high", "p", "smallest_detectable")


@dataclass(frozen=True)
class Table:
    """A small table of texts. The first column is aligned left, the others right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """Return the table for a terminal."""
        header, *rows = text_table(self.header, self.rows, left=1)
        return "\n".join([header, "-" * len(header), *rows])

    def markdown(self) -> str:
        """Return the table in Markdown."""
        return markdown_table(self.header, self.rows)

    def latex(self) -> str:
        """Return the table in LaTeX, for the package booktabs."""
        lines = [" & ".join(map(escaped, line)) + r" \\" for line in (self.header, *self.rows)]
        body = "\n".join(lines[1:])
        columns = "l" + "r" * (len(self.header) - 1)
        top = f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{lines[0]}\n\\midrule\n"
        return f"{top}{body}\n\\bottomrule\n\\end{{tabular}}\n"


def write_evaluation(folder: Path, evaluation: "Evaluation") -> Path:
    """Write the files of an evaluation; see `Evaluation.save`."""
    folder.mkdir(parents=True, exist_ok=True)
    notes = "".join(f"- {note}\n" for note in evaluation.all_notes)
    top = f"# Robustness of {evaluation.title}\n\n{evaluation.summary()}."
    page = f"{top}\n\n{evaluation.table().markdown()}\n\n{HOW_TO_READ}"
    _write(folder / "report.md", page + (f"\n{notes}" if notes else ""))
    _write(folder / "results.tex", evaluation.table().latex())
    _write_csv(folder / "results.csv", CSV_COLUMNS, _csv_rows(evaluation))
    arrays = {f"{name}/posteriors": result.posteriors for name, result in evaluation.results.items()}
    first = next(iter(evaluation.results.values()))
    with atomic_write(folder / "posteriors.npz") as part, part.open("wb") as stream:
        np.savez_compressed(
            stream,
            classes=np.array(evaluation.classes),
            labels=first.labels,
            utterance_ids=np.array(first.utterance_ids, dtype=np.str_),
            speakers=np.array(first.speakers, dtype=np.str_),
            **arrays,  # type: ignore[arg-type]
        )
    return folder / "report.md"


def write_comparison(folder: Path, comparison: "Comparison") -> Path:
    """Write the files of a comparison; see `Comparison.save`."""
    folder.mkdir(parents=True, exist_ok=True)
    table = comparison.table()
    heading = f"# {comparison.second} minus {comparison.first}"
    explanation = (
        "Percentage points of UAR, paired by utterance. The smallest detectable difference is the one that such data "
        "would show in 80 of 100 experiments."
    )
    page = f"{heading}\n\n{table.markdown()}\n\n{explanation}\n"
    _write(folder / "comparison.md", page)
    _write(folder / "comparison.tex", table.latex())
    _write_csv(folder / "comparison.csv", COMPARISON_COLUMNS, _comparison_rows(comparison))
    return folder / "comparison.md"


def _comparison_rows(comparison: "Comparison") -> list[Sequence[str]]:
    return [
        (
            name,
            *(f"{100 * value:.2f}" for value in (found.value, found.low, found.high)),
            f"{comparison.p[name]:.4f}",
            f"{100 * found.smallest_detectable:.2f}",
        )
        for name, found in comparison.differences.items()
    ]


def _csv_rows(evaluation: "Evaluation") -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for line in evaluation.lines:
        change = line.change
        fractions = [line.uar.value, line.uar.low, line.uar.high]
        fractions += [line.accuracy.value, line.accuracy.low, line.accuracy.high]
        ends = () if change is None else (change.value, change.low, change.high)
        changes = [f"{100 * end:.2f}" for end in ends] or ["", "", ""]
        rows.append(
            (
                evaluation.title,
                evaluation.corpus,
                line.condition,
                *(f"{100 * value:.2f}" for value in fractions),
                *changes,
                "" if line.p is None else f"{line.p:.4f}",
                "" if line.unchanged is None else f"{100 * line.unchanged:.2f}",
                str(evaluation.num_utterances),
                str(evaluation.num_speakers),
            )
        )
    return rows


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with csv_file(path, header) as write_row:
        for row in rows:
            write_row(row)
