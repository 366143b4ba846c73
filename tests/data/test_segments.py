"""The segment bank: cached frames, segments, speeds, normalisation, windows on the frames."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from speech import RATE, frames_of, vowel
from torch import Tensor

from fastser.data.audio import change_speed
from fastser.data.features import num_frames, segment_table
from fastser.data.normalisation import Normalisation
from fastser.data.packed_audio import PackedWaveforms
from fastser.data.segments import SegmentBank, build_bank
from fastser.data.utterance_frames import utterance_frames
from fastser.settings import SpectrogramSettings

SMALL = SpectrogramSettings(segment_frames=20, segment_hop=20)
NORMALISATION = Normalisation(-40.0, 15.0)


def packed(signals: Sequence[np.ndarray], key: str = "made up") -> PackedWaveforms:
    samples = np.concatenate(signals).astype(np.float32)
    return PackedWaveforms(samples, np.cumsum([0, *map(len, signals)]), {}, key)


DURATIONS = (0.7, 0.21, 1.3, 0.05, 0.4)
CORPUS = packed([vowel(seconds, seed) for seed, seconds in enumerate(DURATIONS)])


def bank_of(settings: SpectrogramSettings = SMALL, speeds: Sequence[float] = (), **options: Any) -> SegmentBank:
    return build_bank(CORPUS, settings, RATE, speeds=speeds, **options)


@pytest.fixture
def no_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute one bank, then make every further computation of a spectrogram an error."""

    def refuse(*args: object, **options: object) -> Tensor:
        raise AssertionError("computed again")

    bank_of(speeds=(0.9,))
    monkeypatch.setattr("fastser.data.features.log_spectrogram", refuse)


def recording(bank: SegmentBank, number: int) -> Tensor:
    """Return the packed frames of one recording of a bank whose segments do not overlap."""
    mine = bank.recording == number
    return torch.cat([bank.frames[s : s + n] for s, n in zip(bank.start[mine], bank.length[mine], strict=True)])


@pytest.mark.usefixtures("cache", "no_computing")
@pytest.mark.parametrize(
    "changed",
    [{}, {"segment_frames": 30, "segment_hop": 15}, {"last_segment": "dropped"}, {"normalisation": "utterance"}],
)
def test_a_bank_is_computed_once_for_all_segment_widths(changed: dict[str, Any]) -> None:
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
    torch.testing.assert_close(recording(bank, count + 2), frames_of(slowed), rtol=0, atol=1e-3)


@pytest.mark.usefixtures("cache")
def test_an_utterance_that_speed_makes_shorter_than_a_window_is_padded_with_zeros() -> None:
    bank = build_bank(packed([vowel(0.026), vowel(0.5)], "short"), SMALL, RATE, speeds=(2.0,))
    faster = change_speed(vowel(0.026).astype(np.float32), 2.0)
    assert len(faster) == 208
    expected = frames_of(torch.from_numpy(np.pad(faster, (0, 192))))
    torch.testing.assert_close(recording(bank, 2), expected, rtol=0, atol=1e-3)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("all_speeds", [False, True])
def test_normalisation_is_that_of_the_unpadded_frames(all_speeds: bool) -> None:
    bank = bank_of(speeds=(0.9, 1.1))
    chosen = [4, 0, 3]
    recordings = [version * len(DURATIONS) + i for version in (range(3) if all_speeds else [0]) for i in chosen]
    values = torch.cat([recording(bank, r) for r in recordings]).double().numpy()
    normalisation = bank.normalisation(chosen, all_speeds=all_speeds)
    assert normalisation.mean == pytest.approx(values.mean(), rel=1e-9)
    assert normalisation.std == pytest.approx(values.std(), rel=1e-9)


def test_the_standard_deviation_of_constant_values_is_replaced_by_one() -> None:
    assert Normalisation.from_sums(count=4.0, total=-400.0, squares=40_000.0) == Normalisation(-100.0, 1.0)


@pytest.mark.usefixtures("cache")
def test_segments_of_some_utterances() -> None:
    bank = bank_of(speeds=(0.9, 1.1))
    mine = torch.isin(bank.utterance, torch.tensor([1, 2]))
    assert bank.segments([2, 1], all_speeds=True).tolist() == mine.nonzero()[:, 0].tolist()
    original = bank.segments([2, 1])
    assert original.tolist() == (mine & (bank.recording < 5)).nonzero()[:, 0].tolist()
    assert bank.recording[original].tolist() == [1] + [2] * 7
    assert bank.segments([]).tolist() == []


@pytest.mark.fast
@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("method", ["segments", "normalisation"])
def test_a_bank_without_other_speeds_refuses_to_give_them(method: str) -> None:
    plain, both = bank_of(), bank_of(speeds=(0.9,))
    with pytest.raises(ValueError, match=r"no speed-perturbed versions.*speeds="):
        getattr(plain, method)([0, 1], all_speeds=True)
    getattr(plain, method)([0, 1])
    getattr(both, method)([0, 1], all_speeds=True)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("hop", [20, 7])
def test_gathered_segments_are_those_cut_from_the_waveforms(hop: int) -> None:
    settings = SpectrogramSettings(segment_frames=20, segment_hop=hop)
    bank = bank_of(settings)
    chosen = torch.randperm(len(bank.start), generator=torch.Generator().manual_seed(0))
    segments = bank.gather(chosen, NORMALISATION)
    frames = [frames_of(torch.from_numpy(np.pad(CORPUS[i], (0, max(400 - len(CORPUS[i]), 0))))) for i in range(5)]
    assert [len(f) for f in frames] == num_frames(np.diff(CORPUS.offsets), settings).tolist()
    recordings, first, length = segment_table(np.array([len(f) for f in frames]), settings)
    assert segments.shape == (len(recordings), 20, 128)
    for segment, i in zip(segments, chosen.tolist(), strict=True):
        real = frames[recordings[i]][first[i] : first[i] + length[i]]
        torch.testing.assert_close(segment[: length[i]], (real + 40.0) / 15.0, rtol=0, atol=1e-4)
        assert (segment[length[i] :] == 0).all()
    lam = torch.rand(len(chosen), generator=torch.Generator().manual_seed(1))
    mixed = bank.gather_mixup(chosen, chosen.flip(0), lam, NORMALISATION)
    weight = lam[:, None, None]
    torch.testing.assert_close(mixed, weight * segments + (1 - weight) * segments.flip(0))


@pytest.mark.usefixtures("cache")
@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("last", ["shifted", "dropped"])
def test_the_frames_of_a_bank_do_not_depend_on_the_last_segment(last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastser.data.segments._FRAMES_PER_BLOCK", 16)
    bank = bank_of(SMALL.model_copy(update={"last_segment": last}), (0.9,))
    monkeypatch.setattr("fastser.data.segments._FORMAT", -1)  # another key, so that the frames are computed again
    torch.testing.assert_close(bank.frames, bank_of(SMALL, (0.9,)).frames, rtol=0, atol=0)
    utterances = utterance_frames(bank, range(len(DURATIONS)), Normalisation(0.0, 1.0))
    for frames, seconds, seed in zip(utterances, DURATIONS, range(len(DURATIONS)), strict=True):
        expected = frames_of(torch.from_numpy(vowel(seconds, seed).astype(np.float32)))
        torch.testing.assert_close(frames, expected, rtol=0, atol=1e-3)


def test_recordings_lie_end_to_end_in_the_bank() -> None:
    bank = bank_of(speeds=(0.9,))
    pieces = list(zip(bank.start.tolist(), bank.length.tolist(), strict=True))
    assert all(start + length == following for (start, length), (following, _) in pairwise(pieces))
    assert sum(pieces[-1]) == len(bank.frames)
    assert bank.sums[:, 0].sum() == bank.frames.numel()
