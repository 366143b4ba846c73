"""Predicted time of the paper's tables: its corpora by their published sizes, all folds, repeats and tests."""

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.predicted.chips import CHIPS, Chip
from benchmarks.predicted.steps import Kind, Step
from fastser.augmentation import AUGMENTATIONS
from fastser.data.corpora.expected import ExpectedCounts
from fastser.data.corpora.iemocap import EXPECTED as IEMOCAP
from fastser.data.corpora.msp_improv import EXPECTED as MSP_IMPROV
from fastser.experiment.estimate import Pace, SegmentCounts, cost_of_tests, epochs
from fastser.experiment.grid import GridPoint, plan
from fastser.experiment.tables import wanted_by
from fastser.experiment.tasks import TASKS, Role
from fastser.models import MODELS
from fastser.settings import PAPER, PAPER_CLASSES, SCALES, Settings


@dataclass(frozen=True)
class _Corpus:
    """Size of a corpus: its published utterances, speakers, and the hours of them, which are an assumption."""

    utterances: int
    speakers: int
    hours: float

    @property
    def segments(self) -> float:
        """Number of segments: whole ones, and on average half a one at the end of each utterance."""
        spectrogram, rate = PAPER.spectrogram, PAPER.audio.sample_rate
        seconds = spectrogram.segment_hop * spectrogram.hop_length / rate
        return self.hours * 3600 / seconds + self.utterances / 2


def _utterances(expected: ExpectedCounts) -> int:
    return sum(group.count for group in expected.groups if group.emotion in PAPER_CLASSES)


CORPORA: dict[Role, _Corpus] = {
    "source": _Corpus(_utterances(IEMOCAP), speakers=10, hours=7.0),
    "target": _Corpus(_utterances(MSP_IMPROV), speakers=12, hours=8.4),
}
"""IEMOCAP and MSP-IMPROV with the paper's four classes."""


def paces(scale: str, chip: Chip) -> dict[str, Pace]:
    """Return the predicted seconds per segment of each model on a chip."""
    return {name: pace(name, scale, chip) for name in MODELS}


def pace(model: str, scale: str, chip: Chip) -> Pace:
    """Return the predicted seconds per segment of one model on a chip."""

    def per_segment(kind: Kind) -> float:
        step = Step(scale, model, kind, "fastser")
        return step.seconds(chip) / step.batch

    return Pace(per_segment("training"), per_segment("forward"), per_segment("attack"))


def points(settings: Settings, tables: Iterable[str]) -> tuple[GridPoint, ...]:
    """Return the runs of some tables with complete corpora."""
    folds = {
        task.name: [str(fold) for fold in range(CORPORA[task.tests_on].speakers)]
        if task.leaves_one_speaker_out
        else ["all"]
        for task in TASKS.values()
    }
    names = list(tables)
    return plan(folds, list(MODELS), list(AUGMENTATIONS), settings.protocol.repeats, lambda p: wanted_by(names, p))


def counts(settings: Settings, point: GridPoint) -> SegmentCounts:
    """Return the segments that a run of the paper passes through its model."""
    task = TASKS[point.task]
    trains_on, tests_on = CORPORA[task.trains_on], CORPORA[task.tests_on]
    speeds = 1 + sum(1 / factor for factor in settings.augmentation.speed_factors)
    copies = speeds if AUGMENTATIONS[point.augmentation].speed else 1.0
    if task.leaves_one_speaker_out:
        validation = test = tests_on.segments / tests_on.speakers
        training = trains_on.segments - validation - test
    else:
        validation = settings.protocol.cross_corpus_validation * tests_on.segments
        test = tests_on.segments - validation
        training = trains_on.segments
    cost, number = cost_of_tests(point.task, settings, with_noise=True), epochs(settings)
    forward = number * validation + test * cost.forward_passes
    return SegmentCounts(number * training * copies, forward, test * cost.attack_steps)


def hours(tables: Iterable[str], chip: Chip) -> float:
    """Return the predicted hours of some tables at the paper's scale on one GPU of a kind."""
    of_model = paces("paper", chip)
    settings = SCALES["paper"]
    return sum(of_model[p.model].seconds(counts(settings, p)) for p in points(settings, tables)) / 3600


def all_paces() -> dict[str, dict[str, dict[str, Pace]]]:
    """Return the predicted seconds per segment by scale, chip and model."""
    return {scale: {chip.name: paces(scale, chip) for chip in CHIPS} for scale in SCALES}
