"""Log-spectrograms from audio files, end to end: one file after another, librosa and fastser.

"fastser" also hashes the files and writes the result to the cache.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.case import Call, Case, Workload
from benchmarks.gate import check_decibels
from benchmarks.peers import peer
from fastser.data.dataset import prepare
from fastser.experiment.roles import read_roles
from fastser.runtime.files import cache_at
from fastser.settings import PAPER, PAPER_CLASSES

RATE, ANALYSIS = PAPER.audio.sample_rate, PAPER.spectrogram


def _decode(path: Path) -> Tensor:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(1)
    return torch.from_numpy(mono if rate == RATE else soxr.resample(mono, rate, RATE))


def _decibels(waveform: Tensor, window: Tensor) -> Tensor:
    """Return the log-spectrogram of one utterance in decibels, `[frames, bins]`."""
    missing = max(ANALYSIS.win_length - len(waveform), 0)
    padded = F.pad(waveform, (0, missing + ANALYSIS.n_fft - ANALYSIS.win_length))
    long_window = F.pad(window, (0, ANALYSIS.n_fft - ANALYSIS.win_length)).to(waveform.dtype)
    spectrum = torch.stft(
        padded, ANALYSIS.n_fft, ANALYSIS.hop_length, ANALYSIS.n_fft, long_window, center=False, return_complex=True
    )
    power = torch.view_as_real(spectrum[: ANALYSIS.num_bins].t()).square().sum(-1)
    return (power + ANALYSIS.power_floor).log10() * 10.0


def workload(device: torch.device, utterances: int) -> Workload:  # noqa: ARG001
    target = read_roles(None, None, None, PAPER_CLASSES).target
    assert target is not None
    corpus = replace(target, utterances=target.utterances[:utterances])
    paths = [utterance.path for utterance in corpus.utterances]
    window = torch.hamming_window(ANALYSIS.win_length)

    def eager() -> Sequence[Tensor]:
        return [torch.cat([_decibels(_decode(path), window) for path in paths])]

    def by_fastser() -> Sequence[Tensor]:
        with TemporaryDirectory() as folder, cache_at(Path(folder)):
            return [prepare(corpus, PAPER).bank.frames.clone()]

    providers: dict[str, Callable[..., Call]] = {"eager": lambda: eager, "fastser": lambda: by_fastser}
    librosa, missing = peer("librosa")
    if librosa is not None:

        def by_librosa() -> Sequence[Tensor]:
            frames = []
            for path in paths:
                samples, _ = librosa.load(path, sr=RATE, res_type="soxr_hq")
                padded = np.pad(samples, (0, ANALYSIS.n_fft - ANALYSIS.win_length))
                long_window = np.pad(window.numpy(), (0, ANALYSIS.n_fft - ANALYSIS.win_length))
                spectrum = librosa.stft(
                    padded, n_fft=ANALYSIS.n_fft, hop_length=ANALYSIS.hop_length, window=long_window, center=False
                )
                power = abs(spectrum[: ANALYSIS.num_bins].T) ** 2
                frames.append(10.0 * np.log10(power + ANALYSIS.power_floor))
            return [torch.from_numpy(np.concatenate(frames))]

        providers["librosa"] = lambda: by_librosa
    return Workload(
        dtype=torch.float32,
        inputs=tuple,
        providers=providers,
        exact=lambda: [torch.cat([_decibels(_decode(path).double(), window) for path in paths])],
        missing=missing,
        gate=partial(check_decibels, scale=1.0),
        capturable=False,
    )


UTTERANCES = 192
CASES = [
    Case(
        "corpus to spectrograms",
        f"{UTTERANCES} synthetic utterances, WAV, nothing cached",
        ("eager", "fastser", "librosa"),
        partial(workload, utterances=UTTERANCES),
        ("cpu",),
    )
]
