"""Datasets: preparation, unusable files, keys, subsets, noise."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from fastser.data.corpora import read_corpus, read_noise
from fastser.data.corpora.base import Corpus, CorpusError, NoiseCorpus, NoiseRecording, Utterance
from fastser.data.dataset import Dataset, prepare, prepare_noise, sample_places
from fastser.data.features import FeatureExtractor
from fastser.data.noise import draw_noise
from fastser.data.normalisation import IDENTITY, Normalisation
from fastser.settings import PAPER_CLASSES, Settings

SETTINGS = Settings().override(["spectrogram.segment_frames=40", "spectrogram.segment_hop=30", "noise.scenes=park"])
RATE = 16_000


def write(path: Path, seconds: float, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    sf.write(path, 0.1 * rng.normal(size=round(seconds * RATE)), RATE)
    return path


@pytest.fixture
def corpus_of(tmp_path: Path, cache: Path) -> Callable[[int], Corpus]:
    """Make a corpus of some utterances of 0.02 to 1.2 s."""

    def make(count: int) -> Corpus:
        seconds = np.random.default_rng(0).uniform(0.3, 1.2, count)
        seconds[0] = 0.02
        utterances = tuple(
            Utterance(f"u{i}", write(tmp_path / f"u{i}.wav", seconds[i], i), f"s{i % 3}", PAPER_CLASSES[i % 4])
            for i in range(count)
        )
        return Corpus("made-up", "Made-up", tmp_path, utterances, PAPER_CLASSES)

    return make


def spoil(corpus: Corpus, indices: Sequence[int]) -> None:
    for i in indices:
        corpus.utterances[i].path.write_bytes(b"")


def test_a_corpus_is_prepared_whole(corpus_of: Callable[[int], Corpus]) -> None:
    corpus = corpus_of(8)
    dataset = prepare(corpus, SETTINGS, speeds=(0.9, 1.1))
    assert dataset.corpus == corpus
    assert dataset.warnings == ()
    assert dataset.labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert dataset.bank.num_utterances == 8
    assert int(dataset.bank.recording.max()) == 3 * 8 - 1
    assert torch.equal(dataset.samples, torch.from_numpy(dataset.waveforms.samples))
    assert np.diff(dataset.waveforms.offsets)[0] == 400


def test_a_second_time_nothing_is_decoded(corpus_of: Callable[[int], Corpus], monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpus_of(4)
    first = prepare(corpus, SETTINGS)
    monkeypatch.setattr("fastser.data.audio.decode", lambda *_: pytest.fail("decoded again"))
    monkeypatch.setattr("fastser.data.features.log_spectrogram", lambda *_: pytest.fail("computed again"))
    again = prepare(corpus, SETTINGS)
    assert again.key == first.key
    assert torch.equal(again.bank.frames, first.bank.frames)


def test_unusable_files_are_named_skipped_and_counted(corpus_of: Callable[[int], Corpus]) -> None:
    corpus = corpus_of(40)
    whole = prepare(corpus, SETTINGS)
    spoil(corpus, [3, 39])
    dataset = prepare(corpus, SETTINGS)
    assert dataset.warnings == tuple(f"{corpus.utterances[i].path}: is an empty file; skipped" for i in (3, 39))
    assert [u.id for u in dataset.corpus.utterances] == [f"u{i}" for i in range(39) if i != 3]
    assert len(dataset.labels) == dataset.bank.num_utterances == 38
    assert dataset.key != whole.key
    for new, old in ((2, 2), (3, 4), (37, 38)):
        ours = dataset.bank.gather(dataset.bank.segments([new]), IDENTITY)
        torch.testing.assert_close(ours, whole.bank.gather(whole.bank.segments([old]), IDENTITY))


def test_more_than_5_percent_unusable_is_an_error_unless_allowed(corpus_of: Callable[[int], Corpus]) -> None:
    corpus = corpus_of(40)
    spoil(corpus, [1, 2, 7])
    first = corpus.utterances[1].path
    message = f"Made-up: 3 of 40 files unusable, first {first}: is an empty file; --allow-bad-files"
    with pytest.raises(CorpusError, match=message):
        prepare(corpus, SETTINGS)
    dataset = prepare(corpus, SETTINGS, allow_bad_files=True)
    assert len(dataset.corpus.utterances) == 37
    assert len(dataset.warnings) == 3


def test_nothing_usable_is_an_error_even_if_allowed(corpus_of: Callable[[int], Corpus]) -> None:
    corpus = corpus_of(3)
    spoil(corpus, range(3))
    with pytest.raises(CorpusError, match=r"Made-up: 3 of 3 files unusable, first .*u0.wav: is an empty file$"):
        prepare(corpus, SETTINGS, allow_bad_files=True)


def test_the_key_follows_labels_speakers_and_the_order_of_classes(corpus_of: Callable[[int], Corpus]) -> None:
    corpus = corpus_of(4)
    keys = {prepare(corpus, SETTINGS).key}
    for change in ({"emotion": "sad"}, {"speaker": "s9"}, {"id": "v0"}, {"session": "1"}, {"split": "test"}):
        changed = (replace(corpus.utterances[0], **change), *corpus.utterances[1:])
        keys.add(prepare(replace(corpus, utterances=changed), SETTINGS).key)
    keys.add(prepare(replace(corpus, classes=PAPER_CLASSES[::-1]), SETTINGS).key)
    assert len(keys) == 7
    spoken = tuple(replace(utterance, text="a01") for utterance in corpus.utterances)
    assert prepare(replace(corpus, utterances=spoken), SETTINGS).key in keys


@pytest.fixture
def dataset(corpus_of: Callable[[int], Corpus]) -> Dataset:
    return prepare(corpus_of(8), SETTINGS, speeds=(0.9,))


@pytest.mark.parametrize("all_speeds", [False, True])
def test_a_subset_has_the_segments_and_labels_of_its_utterances(dataset: Dataset, all_speeds: bool) -> None:
    subset = dataset.subset([6, 1, 3], all_speeds=all_speeds)
    assert subset.utterances == (1, 3, 6)
    of_segment = dataset.bank.utterance[subset.segments].tolist()
    assert set(of_segment) == {1, 3, 6}
    assert subset.labels.tolist() == [PAPER_CLASSES.index(dataset.corpus.utterances[u].emotion) for u in of_segment]
    assert [subset.utterances[row] for row in subset.rows.tolist()] == of_segment
    assert set(dataset.bank.recording[subset.segments].tolist()) == {1, 3, 6, *((9, 11, 14) if all_speeds else ())}
    assert subset.normalisation() == dataset.bank.normalisation([1, 3, 6], all_speeds=all_speeds)


def test_a_dataset_without_other_speeds_has_no_subset_with_all_speeds(corpus_of: Callable[[int], Corpus]) -> None:
    dataset = prepare(corpus_of(4), SETTINGS)
    with pytest.raises(ValueError, match=r"no speed-perturbed versions.*speeds="):
        dataset.subset([0, 1], all_speeds=True)


def test_sample_places_are_where_the_banks_segments_come_from(dataset: Dataset) -> None:
    subset = dataset.subset([0, 2, 7])
    first, frames, row = sample_places(subset, SETTINGS)
    start = torch.from_numpy(dataset.waveforms.offsets[list(subset.utterances)])[row] + first
    normalisation = Normalisation(-30.0, 12.0)
    extract = FeatureExtractor.create(SETTINGS.spectrogram, RATE)
    segments = extract(dataset.samples, start, frames, normalisation=normalisation)
    torch.testing.assert_close(segments, dataset.bank.gather(subset.segments, normalisation), rtol=0, atol=1e-3)
    assert torch.equal(row, subset.rows)


@pytest.fixture
def noise(tmp_path: Path, cache: Path) -> NoiseCorpus:
    """Two recordings in the park, one in a kitchen."""
    recordings = [
        NoiseRecording(scene, write(tmp_path / f"{scene}{i}.wav", 2.0, i))
        for i, scene in enumerate(("kitchen", "park", "park"))
    ]
    return NoiseCorpus("folder", "Made-up noise", tmp_path, tuple(recordings))


def test_only_the_scenes_of_the_settings_are_decoded(noise: NoiseCorpus) -> None:
    noise.recordings[0].path.write_bytes(b"")
    bank = prepare_noise(noise, SETTINGS)
    assert bank.scenes == ("park", "park")
    assert np.diff(bank.waveforms.offsets).tolist() == [2 * RATE, 2 * RATE]
    assert bank.sample_rate == RATE


def test_a_scene_that_is_not_there_is_refused(noise: NoiseCorpus) -> None:
    message = r"Made-up noise: there is no scene 'beach' \(found: kitchen, park\); --set noise.scenes="
    with pytest.raises(CorpusError, match=message):
        prepare_noise(noise, SETTINGS.override(["noise.scenes=park,beach"]))


def test_an_unusable_noise_recording_is_refused_by_name(noise: NoiseCorpus) -> None:
    path = noise.recordings[2].path
    for spoilt, message in ((np.zeros(RATE), "is digital silence"), (None, "is a git-lfs pointer")):
        if spoilt is None:
            path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
        else:
            sf.write(path, spoilt, RATE)
        with pytest.raises(CorpusError, match=f"^{path}: {message}"):
            prepare_noise(noise, SETTINGS)


@pytest.mark.usefixtures("cache")
def test_real_noise_on_real_speech_has_the_snr(shared_corpora: Path) -> None:
    corpus = read_corpus("ravdess", shared_corpora / "ravdess_speech")
    corpus = replace(corpus, utterances=tuple(u for u in corpus.utterances if u.speaker == "Actor_07"))
    dataset = prepare(corpus, SETTINGS)
    noise = prepare_noise(read_noise("folder", shared_corpora / "noise_env"), Settings())
    assert len(dataset.corpus.utterances) == 28
    assert set(noise.scenes) == set(Settings().noise.scenes)
    utterances = [(i, u.id) for i, u in enumerate(dataset.corpus.utterances)]
    draw = draw_noise(noise, Settings().noise.scenes, dataset.waveforms, utterances, seed=0)
    for row, column in np.ndindex(draw.start.shape):
        speech = dataset.waveforms[column].astype(np.float64)
        start = draw.start[row, column]
        excerpt = noise.waveforms.samples[start : start + len(speech)].astype(np.float64)
        recording = np.searchsorted(noise.waveforms.offsets, start, side="right") - 1
        assert noise.scenes[recording] == draw.scenes[row]
        assert start + len(speech) <= noise.waveforms.offsets[recording + 1]
        level = np.mean(speech**2) / np.mean((draw.gain(10.0)[row, column] * excerpt) ** 2)
        assert 10 * np.log10(level) == pytest.approx(10.0, abs=1e-5)
