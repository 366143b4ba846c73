"""Variations of the leave-one-speaker-out run: other training, validation and test sets for a point of the grid."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.clean_run import Sets
from fastser.data.dataset import Dataset, Subset
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.runtime.digests import digest
from fastser.runtime.registry import Registry
from fastser.training.state import TrainingError


@dataclass(frozen=True)
class Variation:
    """A way in which runs differ from the ordinary ones.

    Attributes:
        name: Name on the command line and of the files.
        heading: Heading of the page.
        ordinary: Column of the ordinary runs.
        varied: Column of the runs that differ.
        text: Sentences for the page that say what was done.
        sets: Returns the sets of each training of a run. Together the test sets are that of the ordinary run.
    """

    name: str
    heading: str
    ordinary: str
    varied: str
    text: str
    sets: Callable[[Experiment, GridPoint], Sequence[Sets]]

    def case(self, varied: bool) -> str:
        """Return the name of the ordinary or of the varied runs."""
        return self.varied if varied else self.ordinary


def halves(test: Subset, seed: int) -> tuple[Subset, Subset]:
    """Divide a test set at random, class by class.

    The halves differ by one utterance at most, in each class and altogether.

    Args:
        test: Test set.
        seed: Seed of the draw.

    Raises:
        TrainingError: If there are fewer than two utterances.
    """
    dataset = test.dataset
    if len(test.utterances) < 2:
        raise TrainingError(f"the test set has {len(test.utterances)} utterance, which cannot be divided into halves")
    drawn = np.random.default_rng(seed).permutation(test.utterances).tolist()
    by_class = sorted(drawn, key=lambda i: dataset.corpus.utterances[i].emotion)
    return dataset.subset(by_class[::2]), dataset.subset(by_class[1::2])


def with_known_speaker(experiment: Experiment, point: GridPoint) -> list[Sets]:
    """Return the sets of two trainings, each with one half of the test set in training and the other half in test."""
    training, validation, test = experiment.subsets(point)
    first, second = halves(test, _seed("halves", point.fold, point.repeat))
    return [Sets(_joined(training, known), validation, tested) for known, tested in ((first, second), (second, first))]


def _joined(training: Subset, known: Subset) -> Subset:
    together = (*training.utterances, *known.utterances)
    return training.dataset.subset(together, all_speeds=training.all_speeds)


def shuffled(dataset: Dataset, seed: int) -> Dataset:
    """Return a dataset whose spectrograms have their frames in random order, each recording by itself.

    The waveforms stay as they are, so only clean speech can be tested.

    Args:
        dataset: A dataset.
        seed: Seed of the draw.
    """
    bank = dataset.bank
    counts = (bank.sums[:, 0] / bank.frames.shape[1]).long().numpy()
    recording = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((np.random.default_rng(seed).random(len(recording)), recording))
    frames = bank.frames[torch.from_numpy(order).to(bank.frames.device)]
    return replace(dataset, bank=replace(bank, frames=frames), key=digest(dataset.key, "shuffled frames", seed))


def with_shuffled_frames(experiment: Experiment, point: GridPoint) -> list[Sets]:
    """Return the sets of the ordinary run with the frames of every utterance in random order."""
    parts = experiment.subsets(point)
    dataset = shuffled(parts[0].dataset, _seed("frames", point.repeat))
    return [Sets(*(dataset.subset(part.utterances, all_speeds=part.all_speeds) for part in parts))]


def _seed(*purpose: str | int) -> int:
    return int(digest("variation", *purpose)[:15], 16)


VARIATIONS = Registry(
    "variation",
    [
        Variation(
            "known-speaker",
            "Known and unknown test speakers",
            "unknown speaker",
            "known speaker",
            "With a known speaker, one half of the test speaker's utterances is in the training set too, and the other "
            "half is tested. A second model is trained and tested with the halves exchanged. So every utterance is "
            "tested by a model that did not train on it, and both columns have the same test utterances. The halves "
            "are drawn at random for each fold and repeat, class by class. Both can have the same sentence, spoken "
            "twice. The networks have as many epochs as with an unknown speaker.",
            with_known_speaker,
        ),
        Variation(
            "shuffled-frames",
            "Frames in order and in random order",
            "order kept",
            "shuffled",
            "Shuffled means that the frames of every utterance are put into a random order before segments are cut, in "
            "training, validation and test set. The order is drawn for each repeat. A shuffled segment has frames of "
            "the whole utterance, not of one part of it. Linear takes mean and standard deviation over the utterance, "
            "so its UAR must not change by more than rounding.",
            with_shuffled_frames,
        ),
    ],
)
"""All variations."""
