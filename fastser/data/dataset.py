"""Datasets: corpora made ready for training, decoded and on the device as a segment bank."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fastser.data.corpora.base import Corpus, CorpusError, NoiseCorpus, NoiseRecording
from fastser.data.corpora.checks import equal_contents
from fastser.data.corpora.names import plain_name
from fastser.data.features import num_frames, segment_table
from fastser.data.level import at_equal_level
from fastser.data.noise import NoiseBank
from fastser.data.normalisation import Normalisation
from fastser.data.packed_audio import PackedWaveforms, pack
from fastser.data.segments import SegmentBank, build_bank
from fastser.runtime.counted import counted
from fastser.runtime.digests import digest
from fastser.settings import Settings

BAD_FILES_ALLOWED = 0.05
"""Largest share of unusable files in a corpus that is not an error."""


_SENTENCES_SHOWN = 3
"""Number of unusable files up to which each has a warning of its own."""


@dataclass(frozen=True)
class Dataset:
    """A prepared corpus.

    Attributes:
        corpus: The corpus with its usable utterances only.
        waveforms: Their samples.
        bank: Their segments on the device.
        warnings: One sentence for each finding that the user should know.
        key: Digest of contents, ids, speakers, labels and classes.
        skipped: Number of utterances that were left out because their files are unusable.
    """

    corpus: Corpus
    waveforms: PackedWaveforms
    bank: SegmentBank
    warnings: tuple[str, ...]
    key: str
    skipped: int = 0

    @cached_property
    def labels(self) -> Tensor:
        """Label of each utterance on the bank's device, int64 [utterances]: an index into the corpus' classes."""
        return torch.tensor(self.corpus.labels, device=self.bank.frames.device)

    @cached_property
    def samples(self) -> Tensor:
        """All waveforms end to end on the bank's device, float32 [samples]."""
        return torch.from_numpy(self.waveforms.samples).to(self.bank.frames.device)

    def subset(self, utterances: Sequence[int], *, all_speeds: bool = False) -> "Subset":
        """Return some of the utterances.

        Args:
            utterances: Their indices.
            all_speeds: Include their speed-perturbed versions.

        Raises:
            ValueError: If `all_speeds` is asked for and the bank was built without other speeds.
        """
        segments = self.bank.segments(utterances, all_speeds=all_speeds)
        return Subset(self, tuple(sorted(utterances)), segments, all_speeds)


@dataclass(frozen=True)
class Subset:
    """A training, validation or test set: the segments of some utterances of a dataset.

    Attributes:
        dataset: The dataset.
        utterances: Sorted utterance indices.
        segments: Indices into the bank, int64 [segments].
        all_speeds: Whether the speed-perturbed versions are included.
    """

    dataset: Dataset
    utterances: tuple[int, ...]
    segments: Tensor
    all_speeds: bool

    @cached_property
    def labels(self) -> Tensor:
        """Label of each segment, which is its utterance's label (paper 4.2), int64 [segments]."""
        return self.dataset.labels[self.dataset.bank.utterance[self.segments]]

    @cached_property
    def rows(self) -> Tensor:
        """Position of each segment's utterance in `utterances`, int64 [segments]."""
        device = self.segments.device
        sorted_utterances = torch.tensor(self.utterances, device=device)
        return torch.searchsorted(sorted_utterances, self.dataset.bank.utterance[self.segments])

    @property
    def utterance_ids(self) -> list[str]:
        """Id of each utterance."""
        return [self.dataset.corpus.utterances[i].id for i in self.utterances]

    def normalisation(self) -> Normalisation:
        """Compute the scalar normalisation of the subset's spectrograms."""
        return self.dataset.bank.normalisation(self.utterances, all_speeds=self.all_speeds)


def prepare(
    corpus: Corpus,
    settings: Settings,
    *,
    speeds: Sequence[float] = (),
    device: torch.device | str = "cpu",
    allow_bad_files: bool = False,
    on_file: Callable[[], None] = lambda: None,
    on_spectrograms: Callable[[str], None] = lambda _: None,
) -> Dataset:
    """Decode a corpus and compute its segments, or take both from the cache.

    Args:
        corpus: Corpus from `fastser.data.read_corpus`.
        settings: Audio and spectrogram settings are used.
        speeds: Speed factors for speed perturbation.
        device: Device of the segments.
        allow_bad_files: Go on even if more than 5 % of the files are unusable or missing.
        on_file: Called after each file that is decoded.
        on_spectrograms: As in `fastser.data.segments.build_bank`.

    Raises:
        CorpusError: If no file can be used, or more than 5 % of the files cannot. Labelled utterances without audio
            count as such, except in a corpus with published counts, whose warning states the difference.
    """
    paths = [u.path for u in corpus.utterances]
    packed = pack(paths, settings.audio.sample_rate, settings.spectrogram.win_length, on_file)
    bad = list(packed.bad.values())
    lost = [id for id, _ in corpus.without_audio] if corpus.expected is None else []
    _require_usable(corpus, bad, lost, allow_bad_files)
    usable = replace(corpus, utterances=tuple(u for i, u in enumerate(corpus.utterances) if i not in packed.bad))
    waveforms = packed.without_bad()
    if settings.audio.level == "equal":
        waveforms = at_equal_level(waveforms)
    identity = [(u.id, u.speaker, u.emotion, u.session, u.split) for u in usable.utterances]
    return Dataset(
        usable,
        waveforms,
        build_bank(
            waveforms,
            settings.spectrogram,
            settings.audio.sample_rate,
            speeds=speeds,
            speakers=[u.speaker for u in usable.utterances],
            device=device,
            on_spectrograms=on_spectrograms,
        ),
        (
            *_skipped(corpus, bad),
            *(f"{corpus.title}: {sentence}" for sentence in equal_contents(usable.utterances, waveforms.digests)),
        ),
        digest(waveforms.key, identity, usable.classes),
        len(bad),
    )


def _require_usable(corpus: Corpus, bad: Sequence[str], lost: Sequence[str], allow_bad_files: bool) -> None:
    """Check the share of unusable and missing files.

    Args:
        corpus: The corpus.
        bad: One sentence for each unusable file.
        lost: Id of each labelled utterance whose file is missing.
        allow_bad_files: Accept any share below one.
    """
    none_left = len(bad) == len(corpus.utterances)
    labelled = len(corpus.utterances) + len(lost)
    if not none_left and (allow_bad_files or len(bad) + len(lost) <= BAD_FILES_ALLOWED * labelled):
        return
    advice = "" if none_left else "; --allow-bad-files goes on without them"
    unusable = [f"{len(bad)} of {counted(labelled, 'file')} unusable, first {bad[0]}"] if bad else []
    missing = [f"{len(lost)} of {counted(labelled, 'file')} missing, first {lost[0]}"] if lost else []
    raise CorpusError(f"{corpus.title}: {' and '.join(unusable + missing)}{advice}")


def _skipped(corpus: Corpus, bad: Sequence[str]) -> list[str]:
    """Return a warning for each unusable file, or one for all if there are many."""
    if len(bad) <= _SENTENCES_SHOWN:
        return [f"{sentence}; skipped" for sentence in bad]
    shown = "; ".join(bad[:_SENTENCES_SHOWN])
    more = len(bad) - _SENTENCES_SHOWN
    return [f"{corpus.title}: {len(bad)} unusable files are skipped: {shown}; and {more} more"]


def recordings_of_scenes(noise: NoiseCorpus, settings: Settings) -> list[NoiseRecording]:
    """Return the recordings of the scenes that the settings name."""
    wanted = {plain_name(scene) for scene in settings.noise.scenes}
    return [recording for recording in noise.recordings if recording.scene in wanted]


def prepare_noise(noise: NoiseCorpus, settings: Settings, on_file: Callable[[], None] = lambda: None) -> NoiseBank:
    """Decode the recordings of the scenes that the settings name.

    Args:
        noise: Noise corpus from `fastser.data.read_noise`.
        settings: Audio and noise settings are used.
        on_file: Called after each file that is decoded.

    Raises:
        CorpusError: If a scene is missing, or one of its recordings is unusable.
    """
    spelling = {plain_name(scene): scene for scene in settings.noise.scenes}
    wanted = recordings_of_scenes(noise, settings)
    for scene in settings.noise.scenes:
        if not any(spelling[r.scene] == scene for r in wanted):
            known = ", ".join(noise.scenes)
            raise CorpusError(
                f"{noise.title}: there is no scene '{scene}' (found: {known}); --set noise.scenes=... chooses others"
            )
    packed = pack([r.path for r in wanted], settings.audio.sample_rate, on_file=on_file)
    if packed.bad:
        raise CorpusError(next(iter(packed.bad.values())))
    return NoiseBank(packed, tuple(spelling[r.scene] for r in wanted), settings.audio.sample_rate)


def sample_places(subset: Subset, settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """Locate the segments of a subset in the waveforms.

    Returns:
        Three tensors on the CPU, int64 [segments] each: the segment's first sample relative to its utterance, its
        number of frames, and the position of its utterance in `subset.utterances`.
    """
    offsets = subset.dataset.waveforms.offsets
    lengths = np.diff(offsets)[list(subset.utterances)]
    row, first, frames = segment_table(num_frames(lengths, settings.spectrogram), settings.spectrogram)
    return (
        torch.from_numpy(first * settings.spectrogram.hop_length),
        torch.from_numpy(frames),
        torch.from_numpy(row),
    )
