"""Standardisation of spectrograms by utterance or by speaker, before that of the training set (open question 3).

The mean and standard deviation are scalars over all frames and bins of a group of recordings. A group is a recording,
or all recordings of a speaker at one speed. They are computed from the recordings themselves, so the test speaker's
are those of the test set, without labels. Noisy recordings have moments of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastser.settings import SpectrogramSettings


def groups_of(speakers: Sequence[str], settings: SpectrogramSettings) -> NDArray[np.int64] | None:
    """Return the group of each recording, int64 [recordings], or None if only the training set's moments are used.

    Args:
        speakers: Speaker of each recording.
        settings: `normalisation` is used.
    """
    if settings.normalisation == "training-set":
        return None
    if settings.normalisation == "utterance":
        return np.arange(len(speakers))
    return np.unique(speakers, return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of each recording's group, float64 [recordings], on the CPU."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, sums: Tensor, groups: NDArray[np.int64]) -> "Moments":
        """Compute the moments of groups. The standard deviation of constant values is replaced by 1.

        Args:
            sums: Number, sum and sum of squares of the values of each recording, float64 [recordings, 3].
            groups: Group of each recording, int64 [recordings].
        """
        group = torch.from_numpy(groups)
        total = sums.new_zeros(int(group.max()) + 1, 3).index_add_(0, group, sums)
        mean = total[:, 1] / total[:, 0]
        std = (total[:, 2] / total[:, 0] - mean.square()).clamp(min=0).sqrt()
        std[std == 0] = 1.0
        return cls(mean[group], std[group])

    def applied_to_sums(self, sums: Tensor) -> Tensor:
        """Return the sums of standardised values, float64 [recordings, 3]."""
        count, total, squares = sums.unbind(1)
        centred = squares - 2 * self.mean * total + count * self.mean.square()
        return torch.stack([count, (total - count * self.mean) / self.std, centred / self.std.square()], 1)
