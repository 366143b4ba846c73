"""The log-spectrograms of whole utterances, for models that do not take segments."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from fastser.data.normalisation import Normalisation
from fastser.data.segments import SegmentBank


def utterance_frames(bank: SegmentBank, utterances: Sequence[int], normalisation: Normalisation) -> Iterator[Tensor]:
    """Yield the normalised log-spectrogram of each utterance at its original speed, without padding.

    Args:
        bank: Segments of the corpus.
        utterances: Indices of utterances.
        normalisation: Normalisation that belongs to the model.

    Yields:
        Spectrogram of one utterance, float32 [frames, bins].
    """
    counts = (bank.sums[: bank.num_utterances, 0] / bank.frames.shape[1]).long()
    ends = counts.cumsum(0)
    for begin, end in zip((ends - counts)[list(utterances)].tolist(), ends[list(utterances)].tolist(), strict=True):
        yield (bank.frames[begin:end] - normalisation.mean) / normalisation.std
