"""Properties of segments: windows cover every frame of every recording, followed by padding."""

import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from fastser.data.features import num_frames, segment_table
from fastser.data.packed_audio import PackedWaveforms
from fastser.data.segments import build_bank
from fastser.runtime.files import cache_at
from fastser.settings import SpectrogramSettings


@st.composite
def segmentations(draw: Any) -> SpectrogramSettings:
    """Draw segment widths and hops. The window is short, so that spectrograms cost little."""
    width = draw(st.integers(16, 40))
    hop = draw(st.integers(1, width))
    return SpectrogramSettings(
        win_length=32, hop_length=draw(st.integers(1, 40)), n_fft=32, num_bins=16, segment_frames=width, segment_hop=hop
    )


@given(segmentations(), st.lists(st.integers(1, 200), max_size=12))
def test_segments_cover_every_frame_with_no_window_too_many(cut: SpectrogramSettings, counts: list[int]) -> None:
    recording, first, length = segment_table(np.array(counts, np.int64), cut)
    assert recording.dtype == first.dtype == length.dtype == np.int64
    assert recording.tolist() == sorted(recording.tolist())
    for number, frames in enumerate(counts):
        starts, lengths = first[recording == number].tolist(), length[recording == number].tolist()
        assert starts == [i * cut.segment_hop for i in range(len(starts))]
        assert lengths[:-1] == [cut.segment_frames] * (len(lengths) - 1)
        assert 1 <= lengths[-1] <= cut.segment_frames
        covered = np.zeros(frames, int)
        for start, size in zip(starts, lengths, strict=True):
            assert start + size <= frames
            covered[start : start + size] += 1
        assert covered.min() >= 1
        assert starts[-1] + lengths[-1] == frames
        assert len(starts) == 1 or starts[-2] + cut.segment_frames < frames


@given(st.integers(1, 5_000), segmentations())
def test_frames_are_those_windows_that_fit(samples: int, cut: SpectrogramSettings) -> None:
    frames = int(num_frames(np.array([samples]), cut)[0])
    assert frames >= 1
    assert (frames - 1) * cut.hop_length + cut.win_length <= max(samples, cut.win_length)
    assert frames * cut.hop_length + cut.win_length > samples


@given(
    segmentations(),
    st.lists(st.integers(40, 900), min_size=1, max_size=4),
    st.sampled_from([(), (0.9,), (0.9, 1.1)]),
    st.integers(0, 2**32),
)
@settings(max_examples=settings.default.max_examples // 2)
def test_the_windows_of_a_bank_are_its_frames_followed_by_padding(
    cut: SpectrogramSettings, samples: list[int], speeds: tuple[float, ...], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    offsets = np.cumsum([0, *samples])
    waveforms = PackedWaveforms(rng.uniform(-1, 1, offsets[-1]).astype(np.float32), offsets, {}, "key")
    with tempfile.TemporaryDirectory() as cache, cache_at(Path(cache)):
        bank = build_bank(waveforms, cut, 16_000, speeds=speeds)
    versions = [max(round(n / speed), cut.win_length) for speed in (1.0, *speeds) for n in samples]
    counts = num_frames(np.array(versions), cut)
    assert len(bank.frames) == counts.sum()
    everyone = range(len(samples))
    all_speeds = bool(speeds)
    everything = bank.segments(everyone, all_speeds=all_speeds)
    assert everything.tolist() == list(range(len(bank.start)))
    chosen = sorted({int(i) for i in rng.integers(0, len(samples), 2)})
    expected = [s for s, r in enumerate(bank.recording.tolist()) if r in chosen]
    assert bank.segments(chosen).tolist() == expected
    assert set(bank.utterance.tolist()) == set(everyone)

    normalisation = bank.normalisation(everyone, all_speeds=all_speeds)
    mean, std = normalisation.mean, normalisation.std
    assert mean == pytest.approx(float(bank.frames.double().mean()), rel=1e-5, abs=1e-5)
    assert std == pytest.approx(float(bank.frames.double().std(correction=0)), rel=1e-4, abs=1e-4)
    windows = bank.gather(everything, normalisation)
    assert windows.shape == (len(everything), cut.segment_frames, cut.num_bins)
    seen = torch.zeros(len(bank.frames), dtype=torch.int64)
    ends = np.cumsum(counts)
    for window, start, length, recording in zip(
        windows, bank.start.tolist(), bank.length.tolist(), bank.recording.tolist(), strict=True
    ):
        assert ends[recording] - counts[recording] <= start
        assert start + length <= ends[recording]
        seen[start : start + length] += 1
        torch.testing.assert_close(window[:length], (bank.frames[start : start + length] - mean) / std)
        assert not window[length:].any()
    assert seen.min() >= 1

    partners = everything[torch.from_numpy(rng.permutation(len(everything)))]
    lam = torch.from_numpy(rng.random(len(everything)).astype(np.float32))
    weight = lam[:, None, None]
    mixed = bank.gather_mixup(everything, partners, lam, normalisation)
    torch.testing.assert_close(mixed, weight * windows + (1 - weight) * windows[partners])
