"""The log-spectrograms of whole utterances, for models that do not take segments."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fastser.data.normalisation import Normalisation
from fastser.data.segments import SegmentBank


def utterance_frames(bank: SegmentBank, utterances: Sequence[int], normalisation: Normalisation) -> Iterator[Tensor]:
    """Yield the normalised log-spectrogram of each utterance at its original speed, without padding.

    The first frame of an utterance is that of its first segment, and its last frame ends its last segment.

    Args:
        bank: Segments of the corpus.
        utterances: Indices of utterances.
        normalisation: Normalisation that belongs to the model.

    Yields:
        Spectrogram of one utterance, float32 [frames, bins].
    """
    original = bank.recording < bank.num_utterances
    recording, start, end = bank.recording[original], bank.start[original], (bank.start + bank.length)[original]
    first = start.new_zeros(bank.num_utterances).scatter_reduce(0, recording, start, "amin", include_self=False)
    last = end.new_zeros(bank.num_utterances).scatter_reduce(0, recording, end, "amax", include_self=False)
    chosen = torch.tensor(utterances, dtype=torch.int64, device=start.device)
    for begin, stop in zip(first[chosen].tolist(), last[chosen].tolist(), strict=True):
        yield (bank.frames[begin:stop] - normalisation.mean) / normalisation.std
