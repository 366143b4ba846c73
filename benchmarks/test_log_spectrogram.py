"""Segments from waveforms: torch.stft, power, decibels and crop, against one operation.

`extra_info["times_faster_than_stft"]` is the ratio of medians of runs that take turns.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import pytest
import torch
import torch.nn.functional as F
from fastser_kernels import log_spectrogram
from fastser_kernels.log_spectrogram.op import ideal_bytes, ideal_flops
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from fastser.settings import SCALES, Spectrogram
from fastser.spectrogram import mel_filterbank

RATE = 16_000
TURNS = 15


@dataclass(frozen=True)
class Workload:
    """Full segments, end to end."""

    segments: int
    settings: Spectrogram
    noisy: bool = False
    backward: bool = False


WORKLOADS = {
    "64 x 256 frames, linear": Workload(64, SCALES["paper"].spectrogram),
    "64 x 256 frames, linear, noise": Workload(64, SCALES["paper"].spectrogram, noisy=True),
    "64 x 256 frames, linear, backward": Workload(64, SCALES["paper"].spectrogram, backward=True),
    "64 x 256 frames, 64 mel bands": Workload(64, Spectrogram(kind="log-mel", num_bins=64)),
    "8 x 256 frames, linear": Workload(8, SCALES["paper"].spectrogram),
    "16 x 128 frames, 64 mel bands": Workload(16, SCALES["quick"].spectrogram),
    "16 x 128 frames, 64 mel bands, noise": Workload(16, SCALES["quick"].spectrogram, noisy=True),
}


def providers(workload: Workload, device: str) -> dict[str, Callable[[], Tensor]]:
    """Each computes the workload's segments, or the gradient of its waveforms."""
    settings, mean, std = workload.settings, -40.0, 15.0
    frames, hop, n_fft = settings.segment_frames, settings.hop_length, settings.n_fft
    samples = (frames - 1) * hop + settings.win_length
    start = torch.arange(workload.segments, device=device) * samples
    padding = n_fft - settings.win_length
    waveforms = torch.randn(workload.segments * samples + padding, device=device, requires_grad=workload.backward)
    window = torch.hamming_window(settings.win_length, device=device)
    long_window = F.pad(window, (0, padding))
    filterbank = mel_filterbank(settings, RATE).to(device) if settings.kind == "log-mel" else None
    noise, gain = torch.randn(samples + padding, device=device), torch.rand(workload.segments, device=device)
    mixed = {"noise": noise, "noise_start": 0 * start, "noise_gain": gain} if workload.noisy else {}
    within = torch.arange(samples + padding, device=device)

    def stft() -> Tensor:
        excerpts = waveforms[start[:, None] + within]
        if workload.noisy:
            excerpts = excerpts + gain[:, None] * noise[within]
        spectrum = torch.stft(
            excerpts, n_fft, hop, n_fft, long_window, center=False, onesided=True, return_complex=True
        )
        parts = torch.view_as_real(spectrum.transpose(1, 2))
        if filterbank is None:
            power = parts[:, :, : settings.num_bins].square().sum(-1)
        else:
            power = parts.square().sum(-1) @ filterbank
        return ((power + settings.power_floor).log10() * 10.0 - mean) / std

    def fastser() -> Tensor:
        return log_spectrogram(
            waveforms, start, torch.full_like(start, frames), window, hop_length=hop, n_fft=n_fft,
            num_bins=settings.num_bins, segment_frames=frames, power_floor=settings.power_floor, mean=mean, std=std,
            filterbank=filterbank, **mixed,
        )  # fmt: skip

    cotangent = torch.randn(workload.segments, frames, settings.num_bins, device=device)

    def finished(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def call() -> Tensor:
            result = torch.autograd.grad(run(), waveforms, cotangent)[0] if workload.backward else run()
            if device == "cuda":
                torch.cuda.synchronize()
            return result

        return call

    return {"stft": finished(stft), "fastser": finished(fastser)}


def seconds(run: Callable[[], Tensor]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("provider", ["stft", "fastser"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_segments_from_waveforms(benchmark: BenchmarkFixture, name: str, provider: str, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    torch.manual_seed(0)
    workload = WORKLOADS[name]
    settings = workload.settings
    runs = providers(workload, device)
    torch.testing.assert_close(*(run() for run in runs.values()), rtol=1e-3, atol=1e-3)
    benchmark.group = f"log_spectrogram, {name}, {device}"
    benchmark.pedantic(runs[provider], rounds=TURNS, warmup_rounds=2)
    turns = [[seconds(run) for run in runs.values()] for _ in range(TURNS)]
    ours, theirs = (median(turn[list(runs).index(which)] for turn in turns) for which in (provider, "stft"))
    samples = (settings.segment_frames - 1) * settings.hop_length + settings.win_length
    dft_bins = settings.num_bins if settings.kind == "linear" else settings.n_fft // 2 + 1
    benchmark.extra_info |= {
        "times_faster_than_stft": theirs / ours,
        "ms_per_segment": 1000 * ours / workload.segments,
        "ideal_bytes": ideal_bytes(workload.segments, samples, settings.segment_frames * settings.num_bins),
        "ideal_flops": ideal_flops(workload.segments * settings.segment_frames, settings.win_length, dft_bins),
        "threads": torch.get_num_threads(),
    }
