"""`fastser.protocol`: folds, what `fit` gets, what is tested, and that no test speaker is in its data."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import CLASSES, Corpora, make_spectrogram_net
from small_runs import SMALL
from torch import nn

import fastser
from fastser.data import read_corpus
from fastser.data.corpora import CorpusError, Utterance
from fastser.robustness import Part


def manifest(corpora: Corpora, path: Path, split_of: Callable[[int, Utterance], str]) -> dict[str, str]:
    """Write the manifest of a corpus with a split, and return the set of each utterance by its id."""
    name, _, folder = corpora.speech.partition("=")
    utterances = read_corpus(name, Path(folder)).utterances
    sets = {str(u.path): split_of(place, u) for place, u in enumerate(utterances)}
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "speaker", "emotion", "split"])
        rows.writerows([u.path, u.speaker, u.emotion, sets[str(u.path)]] for u in utterances)
    return sets


def test_every_speaker_is_tested_by_a_model_that_has_not_heard_this_speaker(corpora: Corpora) -> None:
    calls: list[tuple[Part, Part, int]] = []

    def fit(train: Part, validation: Part, seed: int) -> nn.Module:
        calls.append((train, validation, seed))
        return make_spectrogram_net()

    arguments = {"classes": CLASSES, "settings": SMALL, "conditions": ["clean"], "progress": False}
    result = fastser.protocol(fit, corpora.speech, seed=7, folds=3, **arguments)
    tested = list(dict.fromkeys(result.results["clean"].speakers))
    assert len(calls) == len(tested) == 3
    for (train, validation, seed), speaker in zip(calls, tested, strict=True):
        assert seed == 7
        assert speaker not in {*train.speakers, *validation.speakers}
        assert not set(train.speakers) & set(validation.speakers)
        assert not set(train.files) & set(validation.files)
        assert train.classes == tuple(CLASSES)
        assert len(train.files) == len(train.labels) == len(list(train.waveforms()))
        segments, labels = train.segments()
        assert segments.shape == (len(labels), SMALL.spectrogram.segment_frames, SMALL.spectrogram.num_bins)
        assert abs(segments.mean()) < 0.5  # normalised by the training set, with padding
    assert result.title == "fit"


def test_numbers_are_those_of_evaluate_with_the_normalisation_of_the_fold(corpora: Corpora) -> None:
    torch.manual_seed(0)
    arguments = {"classes": CLASSES, "settings": SMALL, "conditions": ["attacks"], "progress": False}
    seen: list[Part] = []

    def fit(train: Part, _validation: Part, _seed: int) -> nn.Module:
        seen.append(train)
        return make_spectrogram_net()

    result = fastser.protocol(fit, corpora.speech, folds=1, **arguments)
    (train,) = seen
    normalisation = train._dataset.subset(train._utterances).normalisation()
    speaker = result.results["clean"].speakers[0]
    expected = fastser.evaluate(
        make_spectrogram_net(), corpora.speech, speakers=[speaker], normalisation=normalisation, **arguments
    )
    for name in ("clean", "fgsm", "bim"):
        np.testing.assert_array_equal(result.results[name].posteriors, expected.results[name].posteriors)


def test_a_split_of_the_corpus_tests_its_test_utterances_alone(corpora: Corpora, tmp_path: Path) -> None:
    path = tmp_path / "mixed.csv"
    sets = manifest(corpora, path, lambda place, _: ("train", "test", "train", "validation", "train")[place % 5])
    seen: list[Part] = []

    def fit(train: Part, validation: Part, _seed: int) -> nn.Module:
        seen.extend([train, validation])
        return make_spectrogram_net()

    arguments = {"classes": CLASSES, "settings": SMALL, "conditions": ["clean"], "progress": False}
    result = fastser.protocol(fit, f"manifest={path}", **arguments)
    tested = result.results["clean"]
    train, validation = seen
    assert set(tested.utterance_ids) == {name for name, of in sets.items() if of == "test"}
    assert not {*map(str, train.files), *map(str, validation.files)} & set(tested.utterance_ids)
    shared = {*train.speakers, *validation.speakers} & set(tested.speakers)
    note = f"leakage: {len(shared)} of {result.num_speakers} test speakers are in the training data too"
    assert shared
    assert any(sentence.startswith(note) for sentence in result.notes)


def test_a_corpus_with_many_unusable_files_is_refused_unless_that_is_allowed(corpora: Corpora, tmp_path: Path) -> None:
    path = tmp_path / "damaged.csv"
    sets = manifest(corpora, path, lambda _, u: {"Ses01F": "test", "Ses01M": "validation"}.get(u.speaker, "train"))
    with path.open("a") as stream:
        for number in range(4):
            (tmp_path / f"{number}.wav").write_bytes(b"no audio")
            stream.write(f"{number}.wav,Ses02F,sad,train\n")
        stream.write("lost.wav,Ses02F,sad,train\n")
    trained: list[int] = []

    def fit(train: Part, _validation: Part, _seed: int) -> nn.Module:
        trained.append(len(train.files))
        return make_spectrogram_net()

    arguments = {"classes": CLASSES, "settings": SMALL, "conditions": ["clean"], "progress": False}
    with pytest.raises(CorpusError, match=r"4 of 45 files unusable.* and 1 of 45 files missing"):
        fastser.protocol(fit, f"manifest={path}", **arguments)
    result = fastser.protocol(fit, f"manifest={path}", allow_bad_files=True, **arguments)
    assert trained == [list(sets.values()).count("train")]
    for said in ("4 unusable files are skipped", "1 labelled utterance without audio: lost.wav"):
        assert any(said in note for note in result.notes)
