"""Log-spectrograms from waveforms: values, number of frames, segment places, mel filters, noise, bad arguments."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fastser_kernels import log_spectrogram
from scipy import signal
from speech import RATE, frames_of, vowel

from fastser.data.features import FeatureExtractor, mel_filterbank, num_frames, segment_table
from fastser.data.normalisation import Normalisation
from fastser.settings import SpectrogramSettings

PAPER = SpectrogramSettings()
SMALL = SpectrogramSettings(segment_frames=20, segment_hop=20)


def torch_power(waveform: np.ndarray) -> np.ndarray:
    """Return the power of every DFT bin by torch.stft in float64.

    The window is lengthened so that it is not centred in n_fft.
    """
    window = F.pad(torch.hamming_window(400, dtype=torch.float64), (0, 112))
    padded = F.pad(torch.from_numpy(waveform), (0, 112))
    spectrum = torch.stft(padded, 512, 160, 512, window, center=False, return_complex=True)
    return (spectrum.abs() ** 2).T.numpy()


def scipy_power(waveform: np.ndarray) -> np.ndarray:
    """Return the power of every DFT bin by scipy in float64."""
    window = signal.get_window("hamming", 400)
    *_, spectrum = signal.spectrogram(
        waveform, RATE, window, 400, 240, 512, detrend=False, scaling="spectrum", mode="complex"
    )
    return np.abs(spectrum.T * window.sum()) ** 2


def test_the_two_oracles_agree() -> None:
    waveform = vowel(0.5)
    np.testing.assert_allclose(torch_power(waveform), scipy_power(waveform), rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize("oracle", [torch_power, scipy_power])
@pytest.mark.parametrize("level", [1.0, 1e-2])
def test_decibels_agree_with_the_oracles(oracle: Any, level: float) -> None:
    waveform = (level * vowel(2.0)).astype(np.float32)
    expected = 10 * np.log10(oracle(waveform.astype(np.float64))[:, :128] + 1e-10)
    ours = frames_of(torch.from_numpy(waveform)).numpy()
    assert ours.dtype == np.float32
    assert ours.shape == expected.shape == (1 + (len(waveform) - 400) // 160, 128)
    audible = expected > expected.max(axis=1, keepdims=True) - 80
    assert 0.5 < audible.mean() < 1
    assert np.abs(ours - expected)[audible].max() < 0.01


def test_float64_waveforms_are_computed_in_float64() -> None:
    waveform = vowel(0.2)
    window = torch.hamming_window(400, dtype=torch.float64)
    out = log_spectrogram(
        torch.from_numpy(waveform), torch.tensor([0]), torch.tensor([18]), window,
        hop_length=160, n_fft=512, num_bins=257, segment_frames=18, power_floor=1e-10,
    )  # fmt: skip
    assert out.dtype == torch.float64
    np.testing.assert_allclose(out[0].numpy(), 10 * np.log10(torch_power(waveform) + 1e-10), rtol=0, atol=1e-6)


def test_silence_is_at_the_power_floor() -> None:
    torch.testing.assert_close(frames_of(torch.zeros(1_000)), torch.full((4, 128), -100.0))


@pytest.mark.filterwarnings("ignore:At least one mel filterbank has all zero values")
@pytest.mark.parametrize(("n_fft", "num_bins"), [(512, 128), (1024, 80)])
def test_log_mel_agrees_with_torchaudio(n_fft: int, num_bins: int, torchaudio_functional: Any) -> None:
    settings = SpectrogramSettings(kind="log-mel", n_fft=n_fft, num_bins=num_bins)
    theirs = torchaudio_functional.melscale_fbanks(
        n_fft // 2 + 1, 0.0, RATE / 2, num_bins, RATE, norm=None, mel_scale="htk"
    )
    filterbank = mel_filterbank(settings, RATE)
    assert filterbank.dtype == torch.float32
    torch.testing.assert_close(filterbank, theirs, rtol=0, atol=2e-5)
    if n_fft == 512:
        waveform = vowel(0.5).astype(np.float32)
        expected = 10 * np.log10(torch_power(waveform.astype(np.float64)) @ filterbank.double().numpy() + 1e-10)
        np.testing.assert_allclose(frames_of(torch.from_numpy(waveform), settings).numpy(), expected, rtol=0, atol=0.01)


@pytest.mark.fast
@pytest.mark.parametrize("samples", [400, 401, 559, 560, 561, 719, 720, 16_000, 12_345])
def test_25_ms_frames_every_10_ms(samples: int) -> None:
    frames = np.lib.stride_tricks.sliding_window_view(np.zeros(samples), 400)[::160]
    assert num_frames(np.array([samples]), PAPER)[0] == len(frames) == 1 + (samples - 400) // 160


def test_a_waveform_shorter_than_a_window_is_one_frame() -> None:
    assert num_frames(np.array([1, 399, 400]), PAPER).tolist() == [1, 1, 1]


@pytest.mark.parametrize("hop", [256, 128, 100, 1])
def test_segments_reach_the_end_of_every_recording(hop: int) -> None:
    settings = SpectrogramSettings(segment_hop=hop)
    frames = np.random.default_rng(hop).integers(1, 1_000, 30)
    frames[:4] = 1, 256, 257, 512
    expected = []
    for recording, count in enumerate(frames):
        first = 0
        while True:
            expected.append((recording, first, min(count - first, 256)))
            if first + 256 >= count:
                break
            first += hop
    assert list(zip(*(column.tolist() for column in segment_table(frames, settings)), strict=True)) == expected


@pytest.mark.parametrize("hop", [256, 100])
def test_a_last_segment_is_dropped_or_shifted_to_the_end_unless_it_is_the_only_one(hop: int) -> None:
    frames = np.random.default_rng(hop).integers(1, 1_000, 30)
    frames[:4] = 1, 256, 257, 512
    padded, shifted, dropped = (
        list(zip(*(column.tolist() for column in segment_table(frames, settings)), strict=True))
        for settings in (
            SpectrogramSettings(segment_hop=hop, last_segment=last) for last in ("padded", "shifted", "dropped")
        )
    )
    full = [(r, first, length) for r, first, length in padded if length == 256 or first == 0]
    assert dropped == full
    assert shifted == [(r, min(first, max(int(frames[r]) - 256, 0)), min(256, frames[r])) for r, first, _ in padded]


def test_padding_is_zero_after_normalisation_and_nothing_leaks_from_the_next_utterance() -> None:
    waveform = torch.from_numpy(vowel(0.5).astype(np.float32))
    packed = torch.cat([waveform, torch.full((4_000,), torch.nan)])
    frames = 1 + (len(waveform) - 400) // 160
    start, length = torch.tensor([0, 40 * 160]), torch.tensor([40, frames - 40])
    segments = FeatureExtractor.create(SpectrogramSettings(segment_frames=40, segment_hop=40), RATE)(
        packed, start, length, normalisation=Normalisation(-50.0, 20.0)
    )
    expected = (frames_of(waveform) + 50.0) / 20.0
    torch.testing.assert_close(segments[0], expected[:40])
    torch.testing.assert_close(segments[1, : frames - 40], expected[40:])
    assert frames - 40 < 40
    assert (segments[1, frames - 40 :] == 0).all()


def test_fused_noise_equals_mixing_the_waveforms_first() -> None:
    generator = torch.Generator().manual_seed(0)
    speech, noise = (torch.randn(n, generator=generator, dtype=torch.float64) for n in (20_000, 9_000))
    start, noise_start = torch.tensor([0, 3_000, 12_345]), torch.tensor([5_560, 0, 777])
    frames, gain = torch.tensor([20, 7, 13]), torch.tensor([0.1, 3.0, 0.5], dtype=torch.float64)
    normalisation = Normalisation(3.0, 7.0)
    fused = FeatureExtractor.create(SMALL, RATE)(
        speech,
        start,
        frames,
        normalisation=normalisation,
        noise=noise,
        noise_start=noise_start,
        noise_gain=gain,
    )
    for i, count in enumerate(frames.tolist()):
        span = torch.arange((count - 1) * 160 + 400)
        mixed = speech[start[i] + span] + gain[i] * noise[noise_start[i] + span]
        torch.testing.assert_close(fused[i, :count], frames_of(mixed, normalisation=normalisation), rtol=0, atol=1e-9)
        assert (fused[i, count:] == 0).all()


def test_segments_computed_together_equal_segments_computed_one_by_one() -> None:
    waveform = torch.from_numpy(vowel(1.0).astype(np.float32))
    extract = FeatureExtractor.create(SMALL, RATE)
    start, frames = torch.arange(50) * 200, torch.full((50,), 20)
    together = extract(waveform, start, frames)
    one_by_one = torch.cat([extract(waveform, start[i : i + 1], frames[:1]) for i in range(50)])
    torch.testing.assert_close(together, one_by_one, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("start", "frames", "noise_start", "message"),
    [
        (-1, 20, 0, r"^start\[0\] = -1 with 20 frames leaves the waveforms of 10000 samples$"),
        (6_560 + 1, 20, 0, r"^start\[0\] = 6561 with 20 frames leaves the waveforms of 10000 samples$"),
        (0, 20, -1, r"^noise_start\[0\] = -1 with 20 frames leaves the noise of 5000 samples$"),
        (0, 20, 1_561, r"^noise_start\[0\] = 1561 with 20 frames leaves the noise of 5000 samples$"),
    ],
)
def test_a_start_out_of_range_is_refused(start: int, frames: int, noise_start: int, message: str) -> None:
    arguments = {"noise": torch.ones(5_000), "noise_gain": torch.ones(1)}
    extract = FeatureExtractor.create(SMALL, RATE)
    extract(
        torch.ones(10_000), torch.tensor([6_560]), torch.tensor([20]), noise_start=torch.tensor([1_560]), **arguments
    )
    with pytest.raises(IndexError, match=message):
        extract(
            torch.ones(10_000),
            torch.tensor([start]),
            torch.tensor([frames]),
            noise_start=torch.tensor([noise_start]),
            **arguments,
        )


def test_arguments_that_do_not_fit_are_refused() -> None:
    extract, one = FeatureExtractor.create(SMALL, RATE), torch.tensor([0])
    with pytest.raises(ValueError, match=r"waveforms must be \[samples\]"):
        extract(torch.ones(2, 9_000), one, one + 1)
    with pytest.raises(ValueError, match="start and num_frames must both be"):
        extract(torch.ones(9_000), one, torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="noise needs noise_start and noise_gain"):
        extract(torch.ones(9_000), one, one + 1, noise=torch.ones(9_000))
    noise = {"noise": torch.ones(9_000), "noise_start": one, "noise_gain": torch.ones(2)}
    with pytest.raises(ValueError, match="noise needs noise_start and noise_gain"):
        extract(torch.ones(9_000), one, one + 1, **noise)
    sizes = {"hop_length": 160, "n_fft": 512, "segment_frames": 4, "power_floor": 1e-10}
    with pytest.raises(ValueError, match=r"num_bins must be at most n_fft // 2 \+ 1 = 257, got 400"):
        log_spectrogram(torch.ones(9_000), one, one + 1, torch.ones(400), num_bins=400, **sizes)
    with pytest.raises(ValueError, match=r"filterbank must be \[257, 128\], got \[257, 64\]"):
        log_spectrogram(
            torch.ones(9_000), one, one + 1, torch.ones(400), num_bins=128, filterbank=torch.ones(257, 64), **sizes
        )
