from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fastser_kernels import log_spectrogram
from scipy import signal
from torch import Tensor

from fastser.data.audio import change_speed
from fastser.data.packed_audio import PackedWaveforms
from fastser.data.segments import FeatureExtractor, SegmentBank, build_bank, mel_filterbank, num_frames, segment_table
from fastser.settings import SpectrogramSettings

RATE = 16_000
PAPER = SpectrogramSettings()
SMALL = SpectrogramSettings(segment_frames=20, segment_hop=20)


def vowel(seconds: float, seed: int = 0) -> np.ndarray:
    """Harmonics that fall by 12 dB per octave, swelling and fading over 60 dB, in faint noise; float64 [samples]."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    number = np.arange(1, 30)[:, None]
    voice = (np.sin(2 * np.pi * number * (120 * time + 8 * np.sin(5 * time))) / number**2).sum(axis=0)
    return 0.3 * voice * 10 ** (-1.5 + 1.5 * np.cos(9 * time)) + 1e-5 * rng.normal(size=len(time))


def whole(waveform: Tensor, settings: SpectrogramSettings = PAPER, **options: Any) -> Tensor:
    """All frames of one waveform, [frames, bins]."""
    count = int(num_frames(np.array([len(waveform)]), settings)[0])
    analysis = FeatureExtractor.create(settings.model_copy(update={"segment_frames": count}), RATE)
    return analysis(waveform, torch.tensor([0]), torch.tensor([count]), **options)[0]


def torch_power(waveform: np.ndarray) -> np.ndarray:
    """Power of every DFT bin by torch.stft in float64; the window is lengthened so that it is not centred in n_fft."""
    window = F.pad(torch.hamming_window(400, dtype=torch.float64), (0, 112))
    padded = F.pad(torch.from_numpy(waveform), (0, 112))
    spectrum = torch.stft(padded, 512, 160, 512, window, center=False, return_complex=True)
    return (spectrum.abs() ** 2).T.numpy()


def scipy_power(waveform: np.ndarray) -> np.ndarray:
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
    ours = whole(torch.from_numpy(waveform)).numpy()
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


def test_silence_stands_at_the_power_floor() -> None:
    torch.testing.assert_close(whole(torch.zeros(1_000)), torch.full((4, 128), -100.0))


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
        np.testing.assert_allclose(whole(torch.from_numpy(waveform), settings).numpy(), expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("samples", [400, 401, 559, 560, 561, 719, 720, 16_000, 12_345])
def test_25_ms_frames_every_10_ms(samples: int) -> None:
    frames = np.lib.stride_tricks.sliding_window_view(np.zeros(samples), 400)[::160]
    assert num_frames(np.array([samples]), PAPER)[0] == len(frames) == 1 + (samples - 400) // 160


def test_what_is_shorter_than_a_window_is_one_frame() -> None:
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


def test_padding_is_zero_after_normalisation_and_nothing_leaks_from_the_next_utterance() -> None:
    waveform = torch.from_numpy(vowel(0.5).astype(np.float32))
    packed = torch.cat([waveform, torch.full((4_000,), torch.nan)])
    frames = 1 + (len(waveform) - 400) // 160
    start, length = torch.tensor([0, 40 * 160]), torch.tensor([40, frames - 40])
    segments = FeatureExtractor.create(SpectrogramSettings(segment_frames=40, segment_hop=40), RATE)(
        packed, start, length, mean=-50.0, std=20.0
    )
    expected = (whole(waveform) + 50.0) / 20.0
    torch.testing.assert_close(segments[0], expected[:40])
    torch.testing.assert_close(segments[1, : frames - 40], expected[40:])
    assert frames - 40 < 40
    assert (segments[1, frames - 40 :] == 0).all()


def test_fused_noise_equals_mixing_the_waveforms_first() -> None:
    generator = torch.Generator().manual_seed(0)
    speech, noise = (torch.randn(n, generator=generator, dtype=torch.float64) for n in (20_000, 9_000))
    start, noise_start = torch.tensor([0, 3_000, 12_345]), torch.tensor([5_560, 0, 777])
    frames, gain = torch.tensor([20, 7, 13]), torch.tensor([0.1, 3.0, 0.5], dtype=torch.float64)
    analysis = FeatureExtractor.create(SMALL, RATE)
    fused = analysis(speech, start, frames, mean=3.0, std=7.0, noise=noise, noise_start=noise_start, noise_gain=gain)
    for i, count in enumerate(frames.tolist()):
        span = torch.arange((count - 1) * 160 + 400)
        mixed = speech[start[i] + span] + gain[i] * noise[noise_start[i] + span]
        torch.testing.assert_close(fused[i, :count], whole(mixed, mean=3.0, std=7.0), rtol=0, atol=1e-9)
        assert (fused[i, count:] == 0).all()


def test_more_segments_than_a_chunk_are_computed_alike() -> None:
    waveform = torch.from_numpy(vowel(1.0).astype(np.float32))
    analysis = FeatureExtractor.create(SMALL, RATE)
    start, frames = torch.arange(50) * 200, torch.full((50,), 20)
    together = analysis(waveform, start, frames)
    one_by_one = torch.cat([analysis(waveform, start[i : i + 1], frames[:1]) for i in range(50)])
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
    analysis = FeatureExtractor.create(SMALL, RATE)
    analysis(
        torch.ones(10_000), torch.tensor([6_560]), torch.tensor([20]), noise_start=torch.tensor([1_560]), **arguments
    )
    with pytest.raises(IndexError, match=message):
        analysis(
            torch.ones(10_000),
            torch.tensor([start]),
            torch.tensor([frames]),
            noise_start=torch.tensor([noise_start]),
            **arguments,
        )


def test_arguments_that_do_not_fit_are_refused() -> None:
    analysis, one = FeatureExtractor.create(SMALL, RATE), torch.tensor([0])
    with pytest.raises(ValueError, match=r"waveforms must be \[samples\]"):
        analysis(torch.ones(2, 9_000), one, one + 1)
    with pytest.raises(ValueError, match="start and num_frames must both be"):
        analysis(torch.ones(9_000), one, torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="noise needs noise_start and noise_gain"):
        analysis(torch.ones(9_000), one, one + 1, noise=torch.ones(9_000))
    noise = {"noise": torch.ones(9_000), "noise_start": one, "noise_gain": torch.ones(2)}
    with pytest.raises(ValueError, match="noise needs noise_start and noise_gain"):
        analysis(torch.ones(9_000), one, one + 1, **noise)
    sizes = {"hop_length": 160, "n_fft": 512, "segment_frames": 4, "power_floor": 1e-10}
    with pytest.raises(ValueError, match=r"num_bins must be at most n_fft // 2 \+ 1 = 257, got 400"):
        log_spectrogram(torch.ones(9_000), one, one + 1, torch.ones(400), num_bins=400, **sizes)
    with pytest.raises(ValueError, match=r"filterbank must be \[257, 128\], got \[257, 64\]"):
        log_spectrogram(
            torch.ones(9_000), one, one + 1, torch.ones(400), num_bins=128, filterbank=torch.ones(257, 64), **sizes
        )


def packed(signals: Sequence[np.ndarray], key: str = "made up") -> PackedWaveforms:
    samples = np.concatenate(signals).astype(np.float32)
    return PackedWaveforms(samples, np.cumsum([0, *map(len, signals)]), {}, key)


DURATIONS = (0.7, 0.21, 1.3, 0.05, 0.4)
CORPUS = packed([vowel(seconds, seed) for seed, seconds in enumerate(DURATIONS)])


def bank_of(settings: SpectrogramSettings = SMALL, speeds: Sequence[float] = (), **options: Any) -> SegmentBank:
    return build_bank(CORPUS, settings, RATE, speeds=speeds, **options)


@pytest.fixture
def no_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every computation of a spectrogram an error, from the second `bank_of` of a test on."""

    def refuse(*args: object, **options: object) -> Tensor:
        raise AssertionError("computed again")

    bank_of(speeds=(0.9,))
    monkeypatch.setattr("fastser.data.segments.log_spectrogram", refuse)


def recording(bank: SegmentBank, number: int) -> Tensor:
    """Packed frames of one recording of a bank whose segments do not overlap."""
    mine = bank.recording == number
    return torch.cat([bank.frames[s : s + n] for s, n in zip(bank.start[mine], bank.length[mine], strict=True)])


@pytest.mark.usefixtures("cache", "no_computing")
@pytest.mark.parametrize("changed", [{}, {"segment_frames": 30, "segment_hop": 15}])
def test_a_bank_is_computed_once_for_all_segment_widths(changed: dict[str, int]) -> None:
    again = bank_of(SMALL.model_copy(update=changed), (0.9,))
    assert again.segment_frames == changed.get("segment_frames", 20)
    assert again.recording.max() == 2 * len(DURATIONS) - 1


@pytest.mark.usefixtures("cache", "no_computing")
@pytest.mark.parametrize(
    "changed", [{"power_floor": 1e-9}, {"num_bins": 64}, {"hop_length": 200}, {"kind": "log-mel"}, {"n_fft": 1024}]
)
def test_changed_settings_are_computed_anew(changed: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="computed again"):
        bank_of(SMALL.model_copy(update=changed), (0.9,))


@pytest.mark.usefixtures("cache", "no_computing")
def test_other_speeds_contents_and_rates_are_computed_anew() -> None:
    other = packed([vowel(0.3)], "another")
    for waveforms, rate, speeds in ((CORPUS, RATE, (1.1,)), (other, RATE, (0.9,)), (CORPUS, 8_000, (0.9,))):
        with pytest.raises(AssertionError, match="computed again"):
            build_bank(waveforms, SMALL, rate, speeds=speeds)


def test_interrupted_computing_leaves_nothing_and_a_lost_file_is_made_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        assert [part for part in cache.glob(".*.part") if part.name.startswith(".frames")]
        raise KeyboardInterrupt

    monkeypatch.setattr("fastser.data.segments.change_speed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bank_of(speeds=(0.9,))
    assert list(cache.iterdir()) == []
    frames = bank_of().frames.clone()
    (lost,) = cache.glob("*.f32")
    lost.unlink()
    assert torch.equal(bank_of().frames, frames)


@pytest.mark.parametrize("suffix", ["json", "f32"])
def test_a_torn_cache_is_computed_again(cache: Path, suffix: str) -> None:
    frames = bank_of().frames.clone()
    (torn,) = cache.glob(f"*.{suffix}")
    torn.write_bytes(torn.read_bytes()[:-4])
    assert torch.equal(bank_of().frames, frames)


@pytest.mark.usefixtures("cache")
def test_speeds_multiply_the_recordings_and_divide_their_duration() -> None:
    bank = bank_of(speeds=(0.9, 1.1))
    count = len(DURATIONS)
    assert bank.num_utterances == count
    assert sorted(set(bank.recording.tolist())) == list(range(3 * count))
    assert torch.equal(bank.utterance, bank.recording % count)
    for i, seconds in enumerate(DURATIONS):
        for version, factor in enumerate((1.0, 0.9, 1.1)):
            frames = recording(bank, version * count + i)
            assert len(frames) == pytest.approx(max((seconds / factor - 0.025) / 0.01, 0) + 1, abs=1)
    torch.testing.assert_close(recording(bank, 0), recording(bank_of(), 0))
    slowed = torch.from_numpy(change_speed(CORPUS[2], 0.9))
    torch.testing.assert_close(recording(bank, count + 2), whole(slowed), rtol=0, atol=1e-3)


@pytest.mark.usefixtures("cache")
def test_an_utterance_that_speed_makes_shorter_than_a_window_is_padded_with_zeros() -> None:
    bank = build_bank(packed([vowel(0.026), vowel(0.5)], "short"), SMALL, RATE, speeds=(2.0,))
    faster = change_speed(vowel(0.026).astype(np.float32), 2.0)
    assert len(faster) == 208
    expected = whole(torch.from_numpy(np.pad(faster, (0, 192))))
    torch.testing.assert_close(recording(bank, 2), expected, rtol=0, atol=1e-3)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("all_speeds", [False, True])
def test_statistics_are_those_of_the_unpadded_frames(all_speeds: bool) -> None:
    bank = bank_of(speeds=(0.9, 1.1))
    chosen = [4, 0, 3]
    recordings = [version * len(DURATIONS) + i for version in (range(3) if all_speeds else [0]) for i in chosen]
    values = torch.cat([recording(bank, r) for r in recordings]).double().numpy()
    assert bank.statistics(chosen, all_speeds=all_speeds) == pytest.approx((values.mean(), values.std()), rel=1e-9)


@pytest.mark.usefixtures("cache")
def test_segments_of_some_utterances() -> None:
    bank = bank_of(speeds=(0.9, 1.1))
    mine = torch.isin(bank.utterance, torch.tensor([1, 2]))
    assert bank.segments([2, 1], all_speeds=True).tolist() == mine.nonzero()[:, 0].tolist()
    original = bank.segments([2, 1])
    assert original.tolist() == (mine & (bank.recording < 5)).nonzero()[:, 0].tolist()
    assert bank.recording[original].tolist() == [1] + [2] * 7
    assert bank.segments([]).tolist() == []


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("hop", [20, 7])
def test_gathered_segments_are_those_cut_from_the_waveforms(hop: int) -> None:
    settings = SpectrogramSettings(segment_frames=20, segment_hop=hop)
    bank = bank_of(settings)
    chosen = torch.randperm(len(bank.start), generator=torch.Generator().manual_seed(0))
    segments = bank.gather(chosen, -40.0, 15.0)
    frames = [whole(torch.from_numpy(np.pad(CORPUS[i], (0, max(400 - len(CORPUS[i]), 0))))) for i in range(5)]
    assert [len(f) for f in frames] == num_frames(np.diff(CORPUS.offsets), settings).tolist()
    recordings, first, length = segment_table(np.array([len(f) for f in frames]), settings)
    assert segments.shape == (len(recordings), 20, 128)
    for segment, i in zip(segments, chosen.tolist(), strict=True):
        real = frames[recordings[i]][first[i] : first[i] + length[i]]
        torch.testing.assert_close(segment[: length[i]], (real + 40.0) / 15.0, rtol=0, atol=1e-4)
        assert (segment[length[i] :] == 0).all()
    lam = torch.rand(len(chosen), generator=torch.Generator().manual_seed(1))
    mixed = bank.gather_mixup(chosen, chosen.flip(0), lam, -40.0, 15.0)
    weight = lam[:, None, None]
    torch.testing.assert_close(mixed, weight * segments + (1 - weight) * segments.flip(0))


@pytest.mark.usefixtures("cache")
def test_recordings_lie_end_to_end_in_the_bank() -> None:
    bank = bank_of(speeds=(0.9,))
    pieces = list(zip(bank.start.tolist(), bank.length.tolist(), strict=True))
    assert all(start + length == following for (start, length), (following, _) in pairwise(pieces))
    assert sum(pieces[-1]) == len(bank.frames)
    assert bank.sums[:, 0].sum() == bank.frames.numel()
