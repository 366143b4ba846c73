"""Standardisation by utterance and by speaker, and equal levels."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from fastser.data.corpora.base import Corpus, Utterance
from fastser.data.dataset import Dataset, prepare
from fastser.data.level import LEVEL_DB
from fastser.data.segments import build_bank
from fastser.settings import PAPER_CLASSES, Settings

SETTINGS = Settings().override(["spectrogram.segment_frames=40", "spectrogram.segment_hop=30"])
RATE = 16_000


@pytest.fixture
def corpus(tmp_path: Path, cache: Path) -> Corpus:
    """Seven utterances of two speakers at levels that differ."""
    utterances = []
    for i in range(7):
        rng = np.random.default_rng(i)
        samples = 2.0**-i * 0.3 * rng.normal(size=int(rng.uniform(0.3, 1.2) * RATE))
        sf.write(tmp_path / f"u{i}.wav", samples, RATE, subtype="FLOAT")
        utterances.append(Utterance(f"u{i}", tmp_path / f"u{i}.wav", f"s{i % 2}", PAPER_CLASSES[i % 4]))
    return Corpus("made-up", "Made-up", tmp_path, tuple(utterances), PAPER_CLASSES)


def with_normalisation(corpus: Corpus, name: str) -> Dataset:
    return prepare(corpus, SETTINGS.override([f"spectrogram.normalisation={name}"]), speeds=(0.9,))


def recordings_of(dataset: Dataset) -> list[torch.Tensor]:
    bank = dataset.bank
    counts = (bank.sums[:, 0] / bank.frames.shape[1]).long().tolist()
    return list(bank.frames.double().split(counts))


@pytest.mark.parametrize("name", ["utterance", "speaker"])
def test_each_group_has_mean_zero_and_deviation_one(corpus: Corpus, name: str) -> None:
    plain, dataset = with_normalisation(corpus, "training-set"), with_normalisation(corpus, name)
    decibels, standardised = recordings_of(plain), recordings_of(dataset)
    number = len(corpus.utterances)
    for version in (0, number):
        groups = [[i] for i in range(number)] if name == "utterance" else [[0, 2, 4, 6], [1, 3, 5]]
        for group in groups:
            before = torch.cat([decibels[version + i] for i in group])
            deviation = before.std(correction=0)
            expected = (before - before.mean()) / (deviation if deviation > 1e-6 else 1.0)
            after = torch.cat([standardised[version + i] for i in group])
            torch.testing.assert_close(after, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["utterance", "speaker"])
def test_the_training_sets_normalisation_is_that_of_the_standardised_frames(corpus: Corpus, name: str) -> None:
    dataset = with_normalisation(corpus, name)
    values = torch.cat([recordings_of(dataset)[i] for i in (0, 1, 4, 7, 8, 11)])
    normalisation = dataset.subset([0, 1, 4], all_speeds=True).normalisation()
    assert normalisation.mean == pytest.approx(values.mean().item(), abs=1e-5)
    assert normalisation.std == pytest.approx(values.std(correction=0).item(), abs=1e-5)


def test_standardisation_by_speaker_asks_for_speakers(corpus: Corpus) -> None:
    dataset = with_normalisation(corpus, "speaker")
    settings = SETTINGS.override(["spectrogram.normalisation=speaker"]).spectrogram
    with pytest.raises(ValueError, match="needs the speaker of each of the 7 utterances"):
        build_bank(dataset.waveforms, settings, RATE)


def test_equal_levels_are_those_of_whole_recordings(corpus: Corpus) -> None:
    plain, equal = (prepare(corpus, SETTINGS.override([f"audio.level={name}"])) for name in ("kept", "equal"))
    for i in range(7):
        samples, before = equal.waveforms[i].astype(np.float64), plain.waveforms[i].astype(np.float64)
        assert len(samples) == len(before)
        assert 10 * np.log10(np.mean(samples**2)) == pytest.approx(LEVEL_DB, abs=1e-3)
        np.testing.assert_allclose(samples / samples.std(), before / before.std(), atol=1e-5)
    assert equal.key != plain.key
    again = prepare(corpus, SETTINGS.override(["audio.level=equal"]))
    assert again.key == equal.key
    np.testing.assert_array_equal(again.waveforms.samples, equal.waveforms.samples)
