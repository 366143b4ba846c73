"""Results of a robustness test: a table to print, files to keep, and the comparison of two models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fastser.evaluation.metrics import ConditionResult
from fastser.evaluation.statistics import SIGNIFICANCE, Difference, Interval, Sample, difference, holm, interval
from fastser.evaluation.statistics.difference import EXACT_UNITS
from fastser.robustness.pages import Table, write_comparison, write_evaluation
from fastser.runtime.counted import counted

CLEAN = "clean"
"""Name of the condition that the others are compared with."""


@dataclass(frozen=True)
class Line:
    """One condition of a result.

    Attributes:
        condition: Its name.
        uar: UAR with its 95 % interval.
        accuracy: Accuracy with its 95 % interval.
        change: Change of the UAR against clean speech, or None without a clean result.
        p: p-value of the change, corrected for the number of conditions (Holm), or None.
        unchanged: Share of utterances whose predicted class is that of clean speech, or None.
    """

    condition: str
    uar: Interval
    accuracy: Interval
    change: Difference | None
    p: float | None
    unchanged: float | None


@dataclass(frozen=True)
class Evaluation:
    """Predictions of a model under all conditions.

    Attributes:
        title: Name of the model.
        corpus: Title of the corpus.
        classes: Names of the classes, in the order of the posteriors' columns.
        results: Predictions by condition.
        notes: Sentences about everything that a reader of the numbers must know.
    """

    title: str
    corpus: str
    classes: tuple[str, ...]
    results: Mapping[str, ConditionResult]
    notes: tuple[str, ...]

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """One line per condition, in the order of the tests."""
        clean = self.results.get(CLEAN)
        changes: dict[str, Difference] = {}
        if clean is not None:
            reference = Sample.of_result(clean)
            changes = {
                name: difference(reference, Sample.of_result(result))
                for name, result in self.results.items()
                if name != CLEAN
            }
        corrected = dict(zip(changes, holm([change.p for change in changes.values()]), strict=True))
        return tuple(
            Line(
                name,
                interval(Sample.of_result(result)),
                interval(Sample.of_result(result), "accuracy"),
                changes.get(name),
                corrected.get(name),
                None if clean is None or name == CLEAN else _agreement(clean, result),
            )
            for name, result in self.results.items()
        )

    @property
    def num_speakers(self) -> int:
        """Number of test speakers."""
        return len(set(next(iter(self.results.values())).speakers))

    @property
    def num_utterances(self) -> int:
        """Number of test utterances."""
        return len(next(iter(self.results.values())).labels)

    def table(self) -> Table:
        """Return the table that is printed, percent."""
        header = ("condition", "UAR", "95 % interval", "change", "95 % interval", "p", "unchanged")
        return Table(header, [_cells(line) for line in self.lines])

    def summary(self) -> str:
        """Return what was tested in one sentence."""
        return (
            f"{self.title} on {self.corpus}: {counted(self.num_utterances, 'utterance')} of "
            f"{counted(self.num_speakers, 'speaker')}, classes {', '.join(self.classes)}; percent"
        )

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The notes, and sentences about speakers that are too few for what the table shows."""
        if self.num_speakers == 1:
            return *self.notes, "one speaker: intervals and p-values are about new utterances of this speaker"
        if 2 / 2**self.num_speakers > SIGNIFICANCE:
            few = (
                f"{self.num_speakers} speakers say little about others: the intervals are wide, and no p-value is small"
            )
            return *self.notes, few
        tests = len([line for line in self.lines if line.p is not None])
        if self.num_speakers <= EXACT_UNITS and tests * 2 / 2**self.num_speakers > SIGNIFICANCE:
            sentence = (
                f"with {self.num_speakers} speakers and {tests} conditions no corrected p-value can be below "
                f"{SIGNIFICANCE:g}: test fewer conditions, or more speakers"
            )
            return *self.notes, sentence
        return self.notes

    def __str__(self) -> str:
        notes = "".join(f"\nnote: {note}" for note in self.all_notes)
        return f"{self.summary()}\n{self.table().text()}{notes}"

    def save(self, folder: str | Path) -> Path:
        """Write `report.md`, `results.csv`, `results.tex` and `posteriors.npz`, each completely or not at all.

        Args:
            folder: Folder, which is made if it is missing.

        Returns:
            Path of the report.

        Raises:
            OSError: If the folder cannot be written.
        """
        return write_evaluation(Path(folder), self)

    def compare(self, other: "Evaluation") -> "Comparison":
        """Compare with another model on the same utterances, condition by condition.

        Raises:
            ValueError: If the utterances or classes are not the same, or no condition is common.
        """
        common = [name for name in self.results if name in other.results]
        if not common:
            raise ValueError(f"{self.title} and {other.title} were tested under no common condition")
        if sorted(self.classes) != sorted(other.classes):
            raise ValueError(f"the classes differ: {', '.join(self.classes)} and {', '.join(other.classes)}")
        places = {name: place for place, name in enumerate(other.results[common[0]].utterance_ids)}
        ids = self.results[common[0]].utterance_ids
        if places.keys() != set(ids):
            common_ids = len(places.keys() & set(ids))
            raise ValueError(f"the utterances differ: {len(ids)} and {len(places)}, of which {common_ids} are common")
        columns = [other.classes.index(name) for name in self.classes]
        labels = np.array(columns)[self.results[common[0]].labels]
        if not np.array_equal(labels, other.results[common[0]].labels[[places[name] for name in ids]]):
            raise ValueError(f"the labels of {self.title} and {other.title} differ for the same utterances")
        order = [places[name] for name in ids]
        differences = {}
        for name in common:
            a, b = self.results[name], other.results[name]
            in_order = ConditionResult(b.posteriors[order][:, columns], a.labels, a.utterance_ids, a.speakers)
            differences[name] = difference(Sample.of_result(a), Sample.of_result(in_order))
        corrected = holm([found.p for found in differences.values()])
        return Comparison(self.title, other.title, differences, dict(zip(differences, corrected, strict=True)))


@dataclass(frozen=True)
class Comparison:
    """Differences of UAR between two models, paired by utterance.

    Attributes:
        first: Title of the first model.
        second: Title of the second model.
        differences: Second minus first, by condition.
        p: p-value of each, corrected for the number of conditions (Holm).
    """

    first: str
    second: str
    differences: Mapping[str, Difference]
    p: Mapping[str, float]

    def table(self) -> Table:
        """Return the table that is printed, percentage points."""
        rows = [
            (name, f"{100 * d.value:+.1f}", _range(d, "+"), _p(self.p[name]), f"{100 * d.smallest_detectable:.1f}")
            for name, d in self.differences.items()
        ]
        return Table(("condition", "difference", "95 % interval", "p", "smallest detectable"), rows)

    def __str__(self) -> str:
        return f"{self.second} minus {self.first}, percentage points of UAR\n{self.table().text()}"

    def save(self, folder: str | Path) -> Path:
        """Write `comparison.md`, `comparison.csv` and `comparison.tex`, and return the path of the first."""
        return write_comparison(Path(folder), self)


def _agreement(first: ConditionResult, second: ConditionResult) -> float:
    return float((first.posteriors.argmax(axis=1) == second.posteriors.argmax(axis=1)).mean())


def _cells(line: Line) -> Sequence[str]:
    change = line.change
    return (
        line.condition,
        f"{100 * line.uar.value:.1f}",
        _range(line.uar),
        "" if change is None else f"{100 * change.value:+.1f}",
        "" if change is None else _range(change, "+"),
        "" if line.p is None else _p(line.p),
        "" if line.unchanged is None else f"{100 * line.unchanged:.1f}",
    )


def _range(of: Interval | Difference, sign: str = "") -> str:
    return f"{100 * of.low:{sign}.1f} to {100 * of.high:{sign}.1f}"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
