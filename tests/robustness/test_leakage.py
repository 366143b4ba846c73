"""Leakage: speakers and recordings that the model under test knows from its training."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_models import CLASSES, Corpora, make_spectrogram_net
from small_runs import SMALL

import fastser
from fastser.data.corpora import CorpusError
from fastser.robustness.leakage import of_training

CLEAN: dict[str, Any] = {"classes": CLASSES, "conditions": ["clean"], "settings": SMALL, "progress": False}


def test_a_split_is_checked_for_leakage(corpora: Corpora, tmp_path: Path) -> None:
    whole = fastser.evaluate(make_spectrogram_net(), corpora.speech, **CLEAN).results["clean"]
    path = tmp_path / "split.csv"

    def split(sets: list[str]) -> Any:
        lines = [f"{name},{of}" for name, of in zip(whole.utterance_ids, sets, strict=True)]
        path.write_text("\n".join(["file,set", *lines]))
        return lambda **more: fastser.evaluate(make_spectrogram_net(), corpora.speech, split=path, **CLEAN, **more)

    last = whole.speakers[-1]
    clean = split(["test" if speaker == last else "train" for speaker in whole.speakers])()
    assert set(clean.results["clean"].speakers) == {last}
    assert not any("leakage" in note for note in clean.notes)
    mixed = split(["test" if n % 2 else "train" for n in range(len(whole.speakers))])
    with pytest.raises(CorpusError, match="test speakers are in the training data too"):
        mixed()
    accepted = mixed(allow_leakage=True)
    assert any(note.startswith("leakage: ") for note in accepted.notes)
    assert accepted.num_utterances == len(whole.speakers) // 2


def of_speakers(title: str, *speakers: str) -> Any:
    """Return a test set of all utterances of a corpus but the last one, one utterance for each speaker."""
    utterances = [SimpleNamespace(speaker=speaker) for speaker in speakers]
    corpus = SimpleNamespace(title=title, utterances=utterances)
    return SimpleNamespace(dataset=SimpleNamespace(corpus=corpus), utterances=range(len(speakers) - 1))


@pytest.mark.fast
def test_speakers_of_the_training_are_refused_or_named() -> None:
    training = {"corpora": [{"title": "EMO-DB", "speakers": ["03", "08"]}], "validation_speakers": ["09"]}
    with pytest.raises(CorpusError) as refused:
        of_training(training, of_speakers("EMO-DB", "03", "09", "10", "11"), allow=False)
    said = "the model was trained or validated with 2 speakers of this test (03, 09)"
    assert str(refused.value) == (
        f"EMO-DB: {said}; test others with speakers (--speakers 10,11), or allow_leakage (--allow-leakage) goes on "
        "nevertheless"
    )
    assert of_training(training, of_speakers("EMO-DB", "03", "09", "10", "11"), allow=True) == [f"leakage: {said}"]
    with pytest.raises(CorpusError, match="test on another corpus, or"):
        of_training(training, of_speakers("EMO-DB", "03", "08"), allow=False)


@pytest.mark.fast
@pytest.mark.parametrize("title", ["EMO-DB", "RAVDESS"])
def test_other_speakers_and_other_corpora_are_tested(title: str) -> None:
    training = {"corpora": [{"title": "EMO-DB", "speakers": ["03"]}], "validation_speakers": ["04"]}
    speakers = ("10", "11") if title == "EMO-DB" else ("03", "04", "10")
    assert of_training(training, of_speakers(title, *speakers), allow=False) == []
    assert of_training({}, of_speakers(title, *speakers), allow=False) == []
