"""A corpus made ready for training: decoded, on the device as a segment bank, with what cannot be used left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fastser.data.corpora.base import Corpus, CorpusError, NoiseCorpus
from fastser.data.noise import NoiseBank
from fastser.data.packed_audio import PackedWaveforms, pack
from fastser.data.segments import SegmentBank, build_bank, num_frames, segment_table
from fastser.evaluation.metrics import ConditionResult
from fastser.runtime.digests import digest
from fastser.settings import Settings

BAD_FILES_ALLOWED = 0.05
"""Share of a corpus that may be unusable before it is an error."""


@dataclass(frozen=True)
class Dataset:
    """A prepared corpus.

    Attributes:
        corpus: Its usable utterances.
        waveforms: Their samples.
        bank: Their segments on the device.
        warnings: One sentence for every utterance that was left out.
        key: Digest of contents, ids, speakers and labels.
    """

    corpus: Corpus
    waveforms: PackedWaveforms
    bank: SegmentBank
    warnings: tuple[str, ...]
    key: str

    @cached_property
    def labels(self) -> Tensor:
        """Label of each utterance on the bank's device, int64 [utterances]."""
        return torch.tensor([u.label for u in self.corpus.utterances], device=self.bank.frames.device)

    @cached_property
    def samples(self) -> Tensor:
        """All waveforms end to end on the bank's device, float32 [samples]."""
        return torch.from_numpy(self.waveforms.samples).to(self.bank.frames.device)

    def subset(self, utterances: Sequence[int], *, all_speeds: bool = False) -> "Subset":
        """Some of the utterances, by index; with their speed-perturbed versions if asked."""
        segments = self.bank.segments(utterances, all_speeds=all_speeds)
        return Subset(self, tuple(sorted(utterances)), segments, all_speeds)


@dataclass(frozen=True)
class Subset:
    """The segments of some utterances of a dataset: a training, validation or test set.

    Attributes:
        dataset: Where they come from.
        utterances: Sorted utterance indices.
        segments: Indices into the bank, int64 [segments].
        all_speeds: Whether the speed-perturbed versions are among them.
    """

    dataset: Dataset
    utterances: tuple[int, ...]
    segments: Tensor
    all_speeds: bool

    @cached_property
    def labels(self) -> Tensor:
        """Label of each segment, which is its utterance's (paper 4.2), int64 [segments]."""
        return self.dataset.labels[self.dataset.bank.utterance[self.segments]]

    @cached_property
    def rows(self) -> Tensor:
        """For each segment the place of its utterance in `utterances`, int64 [segments]."""
        device = self.segments.device
        sorted_utterances = torch.tensor(self.utterances, device=device)
        return torch.searchsorted(sorted_utterances, self.dataset.bank.utterance[self.segments])

    def statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of the spectrogram values, for the scalar normalisation."""
        return self.dataset.bank.statistics(self.utterances, all_speeds=self.all_speeds)

    def result(self, posteriors: Tensor) -> ConditionResult:
        """Posteriors [utterances, classes] with the truth beside them."""
        chosen = [self.dataset.corpus.utterances[i] for i in self.utterances]
        return ConditionResult(
            posteriors.float().cpu().numpy(), np.array([u.label for u in chosen]), [u.id for u in chosen]
        )


def prepare(
    corpus: Corpus,
    settings: Settings,
    *,
    speeds: Sequence[float] = (),
    device: torch.device | str = "cpu",
    allow_bad_files: bool = False,
    on_file: Callable[[], None] = lambda: None,
) -> Dataset:
    """Decode a corpus and compute its segments, or take both from the cache.

    Args:
        corpus: As a reader gave it.
        settings: Audio and spectrogram settings are used.
        speeds: Speed factors that training will ask for.
        device: Where the bank is to lie.
        allow_bad_files: Go on even if more than 5 % of the files are unusable.
        on_file: Called after each file that is decoded.

    Raises:
        CorpusError: If no file, or too few of them, can be used.
    """
    paths = [u.path for u in corpus.utterances]
    packed = pack(paths, settings.audio.sample_rate, settings.spectrogram.win_length, on_file)
    bad = list(packed.bad.values())
    if len(bad) == len(paths) or (len(bad) > BAD_FILES_ALLOWED * len(paths) and not allow_bad_files):
        advice = "" if len(bad) == len(paths) else "; --allow-bad-files goes on without them"
        raise CorpusError(f"{corpus.title}: {len(bad)} of {len(paths)} files are unusable, first {bad[0]}{advice}")
    usable = replace(corpus, utterances=tuple(u for i, u in enumerate(corpus.utterances) if i not in packed.bad))
    waveforms = packed.without_bad()
    identity = [(u.id, u.speaker, u.emotion, u.session, u.split) for u in usable.utterances]
    return Dataset(
        usable,
        waveforms,
        build_bank(waveforms, settings.spectrogram, settings.audio.sample_rate, speeds=speeds, device=device),
        tuple(f"{sentence}; skipped" for sentence in bad),
        digest(waveforms.key, identity),
    )


def prepare_noise(noise: NoiseCorpus, settings: Settings) -> NoiseBank:
    """Decode the recordings of the scenes that the settings name.

    Raises:
        CorpusError: If a scene is not there, or one of its recordings is unusable.
    """
    wanted = [r for r in noise.recordings if r.scene in settings.noise.scenes]
    for scene in settings.noise.scenes:
        if not any(r.scene == scene for r in wanted):
            known = ", ".join(noise.scenes)
            raise CorpusError(
                f"{noise.title}: there is no scene '{scene}' (found: {known}); --set noise.scenes=... chooses others"
            )
    packed = pack([r.path for r in wanted], settings.audio.sample_rate)
    if packed.bad:
        raise CorpusError(next(iter(packed.bad.values())))
    return NoiseBank(packed, tuple(r.scene for r in wanted), settings.audio.sample_rate)


def sample_places(subset: Subset, settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """Where the segments of a subset lie in the waveforms.

    Returns:
        For each segment: its first sample relative to its utterance, its number of frames, and the place of its
        utterance in `subset.utterances`, int64 [segments] each, on the CPU.
    """
    offsets = subset.dataset.waveforms.offsets
    lengths = np.diff(offsets)[list(subset.utterances)]
    row, first, frames = segment_table(num_frames(lengths, settings.spectrogram), settings.spectrogram)
    return (
        torch.from_numpy(first * settings.spectrogram.hop_length),
        torch.from_numpy(frames),
        torch.from_numpy(row),
    )
