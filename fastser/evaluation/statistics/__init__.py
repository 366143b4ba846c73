"""Statistics of predictions: intervals, paired differences and their tests. The unit of sampling is the speaker.

Utterances of one speaker resemble each other, so ten speakers with a hundred utterances each are ten observations, not
a thousand. Every number here is about new speakers and, where a system was trained several times, new trainings.
"""

from fastser.evaluation.statistics.difference import Difference, difference, difference_of
from fastser.evaluation.statistics.holm import SIGNIFICANCE, holm
from fastser.evaluation.statistics.interval import Interval, interval, interval_of
from fastser.evaluation.statistics.recall import Counts
from fastser.evaluation.statistics.sample import Sample

__all__ = [
    "SIGNIFICANCE",
    "Counts",
    "Difference",
    "Interval",
    "Sample",
    "difference",
    "difference_of",
    "holm",
    "interval",
    "interval_of",
]
