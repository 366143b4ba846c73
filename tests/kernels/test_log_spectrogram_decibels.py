"""Decibels of the log-spectrogram against torch.stft, in every tier."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
import torch.nn.functional as F
from fastser_kernels import log_spectrogram
from fastser_kernels.registration import INTERPRETED
from torch import Tensor

RATE, WINDOW, HOP, N_FFT = 16_000, 400, 160, 512


def stft_power(waveform: Tensor) -> Tensor:
    """Return the power by torch.stft in float64, `[frames, bins]`, with a window padded to n_fft on the right only."""
    window = F.pad(torch.hamming_window(WINDOW, dtype=torch.float64), (0, N_FFT - WINDOW)).to(waveform.device)
    padded = F.pad(waveform.double(), (0, N_FFT - WINDOW))
    return torch.stft(padded, N_FFT, HOP, N_FFT, window, center=False, return_complex=True).abs().square().T


def assert_within_a_hundredth_of_a_decibel(waveform: Tensor, filterbank: Tensor | None = None) -> None:
    """Compare with torch.stft, down to 80 dB below the peak of each frame."""
    power = stft_power(waveform)
    power = power[:, :128] if filterbank is None else power @ filterbank.double()
    expected = (power + 1e-10).log10() * 10
    frames, bins = expected.shape
    window = torch.hamming_window(WINDOW, dtype=torch.float64).to(waveform)
    one = torch.ones(1, dtype=torch.int64, device=waveform.device)
    out = log_spectrogram(
        waveform, 0 * one, frames * one, window, hop_length=HOP, n_fft=N_FFT, num_bins=bins, segment_frames=frames,
        power_floor=1e-10, filterbank=filterbank,
    )  # fmt: skip
    audible = expected > expected.amax(1, keepdim=True) - 80
    assert audible.double().mean() > 0.4
    assert float((out[0].double() - expected).abs()[audible].max()) < 0.01


def vowel(frames: int) -> Tensor:
    """Return four partials over noise that is 80 dB below them."""
    time = torch.arange((frames - 1) * HOP + WINDOW, dtype=torch.float64) / RATE
    partials = ((1, 180, 0), (0.5, 360, 1), (0.2, 540, 2), (0.05, 2500, 0.3))
    tones = sum(a * torch.sin(2 * math.pi * f * time + phase) for a, f, phase in partials)
    return (tones + 1e-4 * torch.randn_like(time)).float()


@pytest.mark.kernel
def test_decibels_of_a_vowel(device: str) -> None:
    assert_within_a_hundredth_of_a_decibel(vowel(40).to(device))


@pytest.mark.kernel
@pytest.mark.skipif(not INTERPRETED, reason="only the interpreter can stand in for tensor cores")
def test_decibels_of_a_vowel_on_tensor_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensor cores ignore the last 13 bits of float32 operands."""
    interpreter = pytest.importorskip("triton.runtime.interpreter")
    exact = interpreter.InterpreterBuilder.create_dot

    def truncated(operand: Any) -> Any:
        assert operand.data.dtype == np.float32
        bits = np.ascontiguousarray(operand.data).view(np.int32) & -0x2000
        return interpreter.TensorHandle(bits.view(np.float32), operand.dtype)

    def multiply(builder: Any, a: Any, b: Any, *rest: Any) -> Any:
        products.append(a.data.shape)
        return exact(builder, truncated(a), truncated(b), *rest)

    products: list[tuple[int, ...]] = []
    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", multiply)
    assert_within_a_hundredth_of_a_decibel(vowel(40))
    assert products


@pytest.mark.kernel
def test_mel_bands_of_a_vowel(device: str, torchaudio_functional: Any) -> None:
    filterbank = torchaudio_functional.melscale_fbanks(N_FFT // 2 + 1, 0.0, RATE / 2, 64, RATE)
    assert_within_a_hundredth_of_a_decibel(vowel(10).to(device), filterbank.to(device))


@pytest.mark.parametrize("number", range(3))
def test_decibels_of_speech(number: int, shared_corpora: Path) -> None:
    path = sorted((shared_corpora / "emodb").rglob("*.flac"))[number * 50]
    assert_within_a_hundredth_of_a_decibel(torch.from_numpy(sf.read(path, dtype="float32")[0]))
