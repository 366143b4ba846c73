"""Properties of folds, the cross-corpus split and segments: nothing is tested twice, leaks, or is left out."""

import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from fastser.data.corpora.base import PAPER_CLASSES, Corpus, CorpusError, Utterance
from fastser.data.packed_audio import PackedWaveforms
from fastser.data.segments import build_bank, num_frames, segment_table
from fastser.experiment.grid import (
    Fold,
    cross_corpus_split,
    folds,
    noise_condition,
    noise_parts,
    spread,
    validation_speakers,
)
from fastser.settings import SpectrogramSettings

SPEAKERS = st.lists(st.text("aAbé0-", min_size=1, max_size=2), min_size=1, max_size=9, unique=True)


@st.composite
def corpora(draw: Any, *, split: bool = False) -> Corpus:
    """Speakers with any number of utterances, in sessions that may be missing, shared, or several for one speaker."""
    utterances = []
    for speaker in draw(SPEAKERS):
        sessions = draw(st.lists(st.sampled_from([None, "1", "2", "3"]), min_size=1, max_size=2))
        # most speakers have all classes, so that most corpora have folds
        spoken = [
            *draw(st.sampled_from([PAPER_CLASSES, PAPER_CLASSES, PAPER_CLASSES, ()])),
            *draw(st.lists(st.sampled_from(PAPER_CLASSES))),
        ]
        for number, emotion in enumerate(spoken):
            part = draw(st.sampled_from(["train", "validation", "test"])) if split else None
            session = sessions[number % len(sessions)]
            utterances.append(Utterance(f"{speaker}/{number}", Path("none"), speaker, emotion, session, part))
    return Corpus("made-up", "Made-up", tuple(draw(st.permutations(utterances))), None, "")


def folds_or_reason(corpus: Corpus) -> tuple[Fold, ...] | str:
    try:
        return folds(corpus)
    except CorpusError as error:
        return str(error)


def speakers_of(corpus: Corpus, part: tuple[int, ...]) -> set[str]:
    return {corpus.utterances[i].speaker for i in part}


def names_of(corpus: Corpus, fold: Fold) -> tuple[str, ...]:
    parts = (fold.train, fold.validation, fold.test)
    return (fold.name, *(" ".join(sorted(corpus.utterances[i].id for i in part)) for part in parts))


@given(corpora())
def test_no_speaker_is_in_two_parts_and_every_utterance_is_tested_once(corpus: Corpus) -> None:
    made = folds_or_reason(corpus)
    if isinstance(made, str):
        assert "needs at least 3 speakers" in made or "has no '" in made
        assert len(corpus.speakers) < 3 or "has no '" in made
        return
    everything = list(range(len(corpus.utterances)))
    assert sorted(i for fold in made for i in fold.test) == everything
    assert [fold.name for fold in made] == list(corpus.speakers)
    for fold in made:
        parts = (fold.train, fold.validation, fold.test)
        assert sorted(i for part in parts for i in part) == everything
        assert all(list(part) == sorted(part) for part in parts)
        spoken = [speakers_of(corpus, part) for part in parts]
        assert spoken[2] == {fold.name}
        assert len(spoken[1]) == 1
        assert sum(map(len, spoken)) == len(set().union(*spoken)) == len(corpus.speakers)
        assert {corpus.utterances[i].emotion for i in fold.train} == set(PAPER_CLASSES)


@given(corpora())
def test_folds_are_refused_only_for_what_they_lack(corpus: Corpus) -> None:
    made = folds_or_reason(corpus)
    possible = len(corpus.speakers) >= 3
    if possible:
        for speaker, validates in validation_speakers(corpus.utterances).items():
            rest = {u.emotion for u in corpus.utterances if u.speaker not in (speaker, validates)}
            possible = possible and rest == set(PAPER_CLASSES)
    assert isinstance(made, str) != possible


@given(corpora())
def test_validation_and_test_are_of_one_session_where_it_has_two_speakers(corpus: Corpus) -> None:
    sessions: dict[str, set[str]] = {}
    for utterance in corpus.utterances:
        if utterance.session is not None:
            sessions.setdefault(utterance.session, set()).add(utterance.speaker)
    validates = validation_speakers(corpus.utterances)
    assert sorted(validates) == list(corpus.speakers)
    for speaker, other in validates.items():
        assert other in corpus.speakers
        assert other != speaker or len(corpus.speakers) == 1
        shared = [members for members in sessions.values() if speaker in members and len(members) > 1]
        if shared:
            assert any(other in members for members in shared)


@given(corpora(), st.randoms(use_true_random=False))
def test_folds_do_not_depend_on_the_order_of_utterances(corpus: Corpus, random: Any) -> None:
    mixed = list(corpus.utterances)
    random.shuffle(mixed)
    other = Corpus("made-up", "Made-up", tuple(mixed), None, "")
    assert validation_speakers(other.utterances) == validation_speakers(corpus.utterances)
    made, again = folds_or_reason(corpus), folds_or_reason(other)
    if isinstance(made, str):
        assert made == again
    else:
        assert [names_of(corpus, fold) for fold in made] == [names_of(other, fold) for fold in again]


@given(corpora(split=True))
def test_a_corpus_s_own_split_is_taken_as_it_is(corpus: Corpus) -> None:
    made = folds_or_reason(corpus)
    if isinstance(made, str):
        lacking = {u.split for u in corpus.utterances} != {"train", "validation", "test"}
        trained = {u.emotion for u in corpus.utterances if u.split == "train"}
        assert lacking or trained != set(PAPER_CLASSES)
        return
    (fold,) = made
    for name, part in (("train", fold.train), ("validation", fold.validation), ("test", fold.test)):
        assert list(part) == [i for i, u in enumerate(corpus.utterances) if u.split == name]


@given(corpora(), st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_the_cross_corpus_split_divides_every_class(corpus: Corpus, share: float, seed: int) -> None:
    counts = corpus.class_counts()
    if min(counts[emotion] for emotion in PAPER_CLASSES) < 2:
        with pytest.raises(CorpusError, match="needs two"):
            cross_corpus_split(corpus, share, seed)
        return
    validation, test = cross_corpus_split(corpus, share, seed)
    assert sorted(validation + test) == list(range(len(corpus.utterances)))
    assert (list(validation), list(test)) == (sorted(validation), sorted(test))
    assert cross_corpus_split(corpus, share, seed) == (validation, test)
    for emotion in PAPER_CLASSES:
        held = sum(corpus.utterances[i].emotion == emotion for i in validation)
        assert 1 <= held < counts[emotion]
        assert abs(held - share * counts[emotion]) <= 1


@given(st.integers(1, 30), st.integers(1, 40))
def test_spread_takes_that_many_different_folds_in_order(available: int, count: int) -> None:
    made = [Fold(f"{i:02d}", (), (), ()) for i in range(available)]
    chosen = [fold.name for fold in spread(made, count)]
    assert len(chosen) == min(count, available)
    assert chosen == sorted(set(chosen))
    gaps = np.diff([*(int(name) for name in chosen), available + int(chosen[0])])
    assert gaps.max() - gaps.min() <= 1


@given(
    st.integers(-400, 400).map(lambda tenths: tenths / 10),
    st.none() | st.text("abé0-_ d", min_size=1).map(lambda scene: scene + "k"),
)
def test_a_noisy_condition_s_name_says_scene_and_snr(snr_db: float, scene: str | None) -> None:
    assert noise_parts(noise_condition(snr_db, scene)) == (scene or "", snr_db)


@st.composite
def segmentations(draw: Any) -> SpectrogramSettings:
    """Segment widths and hops; the window is short, so that spectrograms cost little."""
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
def test_the_bank_s_windows_are_its_frames_then_padding(
    cut: SpectrogramSettings, samples: list[int], speeds: tuple[float, ...], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    offsets = np.cumsum([0, *samples])
    waveforms = PackedWaveforms(rng.uniform(-1, 1, offsets[-1]).astype(np.float32), offsets, {}, "key")
    with tempfile.TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTSER_CACHE", cache)
        bank = build_bank(waveforms, cut, 16_000, speeds=speeds)
    versions = [max(round(n / speed), cut.win_length) for speed in (1.0, *speeds) for n in samples]
    counts = num_frames(np.array(versions), cut)
    assert len(bank.frames) == counts.sum()
    everyone = range(len(samples))
    everything = bank.segments(everyone, all_speeds=True)
    assert everything.tolist() == list(range(len(bank.start)))
    chosen = sorted({int(i) for i in rng.integers(0, len(samples), 2)})
    expected = [s for s, r in enumerate(bank.recording.tolist()) if r in chosen]
    assert bank.segments(chosen).tolist() == expected
    assert set(bank.utterance.tolist()) == set(everyone)

    mean, std = bank.statistics(everyone, all_speeds=True)
    assert mean == pytest.approx(float(bank.frames.double().mean()), rel=1e-5, abs=1e-5)
    assert std == pytest.approx(float(bank.frames.double().std(correction=0)), rel=1e-4, abs=1e-4)
    windows = bank.gather(everything, mean, std)
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
    torch.testing.assert_close(
        bank.gather_mixup(everything, partners, lam, mean, std), weight * windows + (1 - weight) * windows[partners]
    )
