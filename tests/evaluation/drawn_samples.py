"""Samples drawn from a population whose truth is known: speakers differ, and have unequal numbers of utterances."""

import numpy as np

from fastser.evaluation.statistics import Sample

CLASSES = 4
_SHARES = np.array([0.75, 0.55, 0.45, 0.65])


def draw(
    generator: np.random.Generator, speakers: int, *, systems: int = 1, repeats: int = 1, between_repeats: float = 0.0
) -> list[Sample]:
    """Return samples of equally good systems that test the same utterances.

    Args:
        generator: Source of randomness.
        speakers: Number of speakers, with 15 to 89 utterances each.
        systems: Number of systems. They share how hard a speaker is, and each has strengths of its own.
        repeats: Number of trainings of each system.
        between_repeats: Standard deviation of a training's logit of the recall.
    """
    numbers = generator.integers(15, 90, speakers)
    codes = np.repeat(np.arange(speakers), numbers)
    classes = generator.dirichlet(np.full(CLASSES, 5.0), speakers)
    labels = (generator.random((len(codes), 1)) > classes.cumsum(axis=1)[codes, :-1]).sum(axis=1)
    hard = generator.normal(0, 0.7, (speakers, 1))
    made = []
    for _ in range(systems):
        logits = np.log(_SHARES / (1 - _SHARES)) + hard + generator.normal(0, 0.5, (speakers, CLASSES))
        trained = logits + generator.normal(0, between_repeats, (repeats, 1, CLASSES))
        correct = generator.random((repeats, len(codes))) < 1 / (1 + np.exp(-trained[:, codes, labels]))
        made.append(Sample(labels, np.where(correct, labels, (labels + 1) % CLASSES), codes, CLASSES))
    return made


def true_uar() -> float:
    """Return the UAR of the population without differences between repeats, by many speakers."""
    (sample,) = draw(np.random.default_rng(99), 40_000)
    correct, tested = sample.counts("uar")
    return float((correct.sum(axis=1) / tested.sum(axis=1)).mean())
