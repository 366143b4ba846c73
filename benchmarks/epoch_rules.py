"""Rules that choose an epoch of a recorded training, and the quality of their choices over many runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import StatisticsError, correlation, median

from benchmarks.epoch_record import RunRecord
from fastser.settings import TrainingSettings

LAST_EPOCHS = 10
"""Number of last epochs whose median test UAR stands for a typical epoch of a run."""

BAD_POINTS = (5, 10)
"""Percentage points below the typical epoch from which a chosen epoch counts as bad."""


@dataclass(frozen=True)
class Rule:
    """A rule that chooses an epoch.

    Attributes:
        name: Name in the CSV file.
        title: Name on the page.
        choose: Returns the number of the chosen epoch, from 1.
    """

    name: str
    title: str
    choose: Callable[[RunRecord, TrainingSettings], int]


def _first_best(scores: Iterable[float]) -> int:
    """Return the number of the first epoch with the highest score."""
    listed = list(scores)
    return listed.index(max(listed)) + 1


def monitored(record: RunRecord, settings: TrainingSettings) -> list[float]:
    """Return the validation score by which the training is controlled, after every epoch."""
    return [getattr(epoch, settings.monitor) for epoch in record.epochs]


def _of_scale(record: RunRecord, settings: TrainingSettings) -> int:
    """Return the epoch that the training of the scale keeps."""
    if settings.schedule == "cosine":
        return len(record.epochs)
    scores, best = monitored(record, settings), 0
    for index, score in enumerate(scores):
        if score > scores[best]:
            best = index
        if index - best >= settings.stop_after:
            break
    return best + 1


ORACLE = Rule("oracle", "oracle: best test UAR", lambda record, _: _first_best(e.test_uar for e in record.epochs))
"""Upper bound that no rule can reach, since it knows the test set."""

RULES = (
    Rule("scale", "rule of the scale", _of_scale),
    Rule("accuracy", "best validation accuracy", lambda record, _: _first_best(e.accuracy for e in record.epochs)),
    Rule("uar", "best validation UAR", lambda record, _: _first_best(e.uar for e in record.epochs)),
    Rule("loss", "lowest validation loss", lambda record, _: _first_best(-e.loss for e in record.epochs)),
    Rule("last", "last epoch", lambda record, _: len(record.epochs)),
    ORACLE,
)


@dataclass(frozen=True)
class Choice:
    """The epoch that a rule has chosen in one run.

    Attributes:
        record: The run.
        rule: The rule.
        epoch: Number of the epoch.
        uar: Its test UAR in percent.
        oracle: Highest test UAR of all epochs in percent.
        typical: Median test UAR of the last epochs in percent.
    """

    record: RunRecord
    rule: Rule
    epoch: int
    uar: float
    oracle: float
    typical: float

    @classmethod
    def of(cls, record: RunRecord, rule: Rule, settings: TrainingSettings) -> "Choice":
        """Apply a rule to a run."""
        tested = [100 * epoch.test_uar for epoch in record.epochs]
        epoch = rule.choose(record, settings)
        return cls(record, rule, epoch, tested[epoch - 1], max(tested), median(tested[-LAST_EPOCHS:]))

    def is_bad(self, points: float) -> bool:
        """Return whether the epoch is more than some percentage points below the typical epoch."""
        return round(self.typical - self.uar, 9) > points  # rounded: 75 - 70 is not more than 5


def median_correlation(
    records: Iterable[RunRecord], settings: TrainingSettings, *, second_half: bool = False
) -> tuple[float | None, int]:
    """Return the median over runs of the correlation of validation score and test UAR over the epochs of a run.

    Args:
        records: Runs.
        settings: Settings that name the monitored score.
        second_half: Take only the second half of the epochs, in which the test UAR has less of a common trend.

    Returns:
        The median of Pearson's correlations, or None if there is none, and their number. A run whose scores are
        constant has no correlation.
    """
    found = []
    for record in records:
        begin = len(record.epochs) // 2 if second_half else 0
        tested = [epoch.test_uar for epoch in record.epochs]
        try:
            found.append(correlation(monitored(record, settings)[begin:], tested[begin:]))
        except StatisticsError:
            continue
    return (median(found) if found else None), len(found)
