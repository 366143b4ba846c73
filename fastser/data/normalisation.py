"""The scalar normalisation of spectrograms."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Mean and standard deviation of a training set's spectrogram values (`docs/open-questions.md` 3).

    They are in decibels, or without unit where the spectrograms were standardised by utterance or speaker before.

    A model expects its input as `(decibels - mean) / std`, so its normalisation is saved with its weights.
    """

    mean: float
    std: float

    @classmethod
    def from_sums(cls, count: float, total: float, squares: float) -> "Normalisation":
        """Compute the moments from the number, the sum and the sum of squares of the values.

        The standard deviation of constant values is replaced by 1.
        """
        mean = total / count
        return cls(mean, max(squares / count - mean * mean, 0.0) ** 0.5 or 1.0)


IDENTITY = Normalisation(0.0, 1.0)
"""Values stay in decibels."""
