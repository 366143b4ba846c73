"""Log-spectrogram segments from waveforms: torch.stft, power, decibels and crop against one operation."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from fastser_kernels import log_spectrogram
from fastser_kernels.log_spectrogram.op import ideal_bytes, ideal_flops
from torch import Tensor

from benchmarks.case import Call, Case, Workload, once
from benchmarks.compiled import COMPILED, compiled
from benchmarks.gate import check_decibels
from benchmarks.peers import peer, torchaudio_functional
from fastser.data.features import mel_filterbank
from fastser.settings import PAPER, QUICK, SpectrogramSettings

RATE, MEAN, STD = PAPER.audio.sample_rate, -40.0, 15.0
MEL_64 = PAPER.spectrogram.model_copy(update={"kind": "log-mel", "num_bins": 64})


def workload(device: torch.device, segments: int, settings: SpectrogramSettings, noisy: bool) -> Workload:
    frames, hop, n_fft, win = settings.segment_frames, settings.hop_length, settings.n_fft, settings.win_length
    samples, padding = (frames - 1) * hop + win, n_fft - win
    start = torch.arange(segments, device=device) * samples
    counts = torch.full_like(start, frames)
    window = torch.hamming_window(win, device=device)
    long_window = F.pad(window, (0, padding))
    filterbank = mel_filterbank(settings, RATE).to(device) if settings.kind == "log-mel" else None

    def inputs() -> tuple[Any, ...]:
        waveforms = torch.randn(segments * samples + padding, device=device)
        if not noisy:
            return (waveforms,)
        return waveforms, torch.randn(samples + padding, device=device), torch.rand(segments, device=device)

    def mixed(waveforms: Tensor, noise: Tensor | None = None, gain: Tensor | None = None) -> Tensor:
        within = torch.arange(samples + padding, device=device)
        excerpts = waveforms[start[:, None] + within]
        return excerpts if noise is None or gain is None else excerpts + gain[:, None] * noise[within]

    def decibels(power: Tensor) -> Tensor:
        kept = power[..., : settings.num_bins] if filterbank is None else power @ filterbank.to(power.dtype)
        return ((kept + settings.power_floor).log10() * 10.0 - MEAN) / STD

    def eager(*given: Tensor) -> Tensor:
        excerpts = mixed(*given)
        spectrum = torch.stft(
            excerpts, n_fft, hop, n_fft, long_window.to(excerpts.dtype), center=False, return_complex=True
        )
        return decibels(torch.view_as_real(spectrum.transpose(1, 2)).square().sum(-1))

    def fused(waveforms: Tensor, noise: Tensor | None = None, gain: Tensor | None = None) -> Tensor:
        return log_spectrogram(
            waveforms, start, counts, window, hop_length=hop, n_fft=n_fft, num_bins=settings.num_bins,
            segment_frames=frames, power_floor=settings.power_floor, mean=MEAN, std=STD, filterbank=filterbank,
            noise=noise, noise_start=None if noise is None else 0 * start, noise_gain=gain,
        )  # fmt: skip

    providers: dict[str, Callable[..., Call]] = {"eager": once(eager)}
    more, missing = compiled(eager, once, device)
    providers |= more | {"fastser": once(fused)}
    torchaudio, without = torchaudio_functional()
    missing |= without
    if torchaudio is not None:

        def by_torchaudio(*given: Tensor) -> Tensor:
            power = torchaudio.spectrogram(mixed(*given), 0, long_window, n_fft, hop, n_fft, 2.0, False, center=False)
            return decibels(power.transpose(1, 2))

        providers["torchaudio"] = once(by_torchaudio)
    librosa, without = peer("librosa")
    missing |= without
    if librosa is not None and device.type == "cpu":

        def by_librosa(*given: Tensor) -> Tensor:
            spectrum = librosa.stft(
                mixed(*given).numpy(), n_fft=n_fft, hop_length=hop, window=long_window.numpy(), center=False
            )
            return decibels(torch.from_numpy(abs(spectrum) ** 2).transpose(1, 2))

        providers["librosa"] = once(by_librosa)
    dft_bins = settings.num_bins if filterbank is None else n_fft // 2 + 1
    return Workload(
        dtype=torch.float32,
        inputs=inputs,
        providers=providers,
        exact=lambda *given: [eager(*(tensor.double() for tensor in given))],
        ideal_bytes=ideal_bytes(segments, samples, frames * settings.num_bins),
        ideal_flops=ideal_flops(segments * frames, win, dft_bins),
        missing=missing,
        gate=partial(check_decibels, scale=STD),
    )


def _case(
    segments: int, settings: SpectrogramSettings, title: str, *, noisy: bool = False, devices: tuple[str, ...]
) -> Case:
    providers = ("eager", *COMPILED, "fastser", "torchaudio", "librosa")
    build = partial(workload, segments=segments, settings=settings, noisy=noisy)
    return Case(
        "segments from waveforms", f"{segments} x {settings.segment_frames} frames, {title}", providers, build, devices
    )


BOTH = ("cpu", "cuda")
CASES = [
    _case(64, PAPER.spectrogram, "128 linear bins", devices=BOTH),
    _case(64, PAPER.spectrogram, "128 linear bins, noise added", noisy=True, devices=BOTH),
    _case(64, MEL_64, "64 mel bands", devices=("cpu",)),
    _case(16, QUICK.spectrogram, "64 mel bands", devices=("cpu",)),
    _case(1024, PAPER.spectrogram, "128 linear bins", devices=("cuda",)),
]
