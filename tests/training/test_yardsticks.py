"""Yardsticks: the logistic regression and the constant answer, against scikit-learn and counts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_runs import SMALL
from torch import Tensor

from fastser.data.corpora import read_corpus
from fastser.data.corpora.synthetic import generate
from fastser.data.dataset import Dataset, prepare
from fastser.data.features import FeatureExtractor
from fastser.data.normalisation import Normalisation
from fastser.runtime.files import cache_at
from fastser.settings import PAPER_CLASSES, TrainingSettings
from fastser.training.yardsticks import YARDSTICKS, UtteranceClassifier, band_statistics

BINS = SMALL.spectrogram.num_bins


def small_dataset(folder: Path, classes: Sequence[str] = PAPER_CLASSES) -> Dataset:
    with cache_at(folder / "cache"):
        made = generate(folder, utterances_per_class=1)
        return prepare(read_corpus("iemocap", made.iemocap, classes), SMALL, speeds=(0.9,))


def spectrogram(dataset: Dataset, index: int, normalisation: Normalisation) -> Tensor:
    """Return the spectrogram of a whole utterance as one segment, computed from its waveform, [1, frames, bins]."""
    samples, spectral = torch.from_numpy(dataset.waveforms[index].copy()), SMALL.spectrogram
    frames = 1 + (len(samples) - spectral.win_length) // spectral.hop_length
    extract = FeatureExtractor.create(spectral.model_copy(update={"segment_frames": frames}), 16_000)
    return extract(samples, torch.tensor([0]), torch.tensor([frames]), normalisation=normalisation)


def features(dataset: Dataset, utterances: Sequence[int], normalisation: Normalisation) -> NDArray[np.float64]:
    inputs = [spectrogram(dataset, index, normalisation)[0].numpy().astype(np.float64) for index in utterances]
    return np.array([np.concatenate([x.mean(axis=0), x.std(axis=0)]) for x in inputs])


@pytest.mark.parametrize("weights", ["none", "balanced"])
@pytest.mark.parametrize("classes", [PAPER_CLASSES, ("angry", "sad")])
def test_linear_is_the_logistic_regression_of_scikit_learn(
    stand_ins: Path, classes: tuple[str, ...], weights: Literal["none", "balanced"]
) -> None:
    dataset = small_dataset(stand_ins, classes)
    rare = np.flatnonzero(dataset.labels == 0)[5:].tolist()
    training = dataset.subset([i for i in range(4, len(dataset.labels)) if i not in rare])
    normalisation = training.normalisation()
    oracle = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=0.1, max_iter=2000, class_weight={"none": None, "balanced": "balanced"}[weights]),
    )
    oracle.fit(features(dataset, training.utterances, normalisation), dataset.labels[list(training.utterances)].numpy())
    model = YARDSTICKS["linear"].fit(training, normalisation, TrainingSettings(class_weights=weights))
    tested = range(8)
    with torch.no_grad():
        found = torch.cat([model(spectrogram(dataset, index, normalisation)).softmax(1) for index in tested])
    expected = oracle.predict_proba(features(dataset, tested, normalisation))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)


def test_majority_answers_the_most_frequent_class_with_its_share(stand_ins: Path) -> None:
    dataset = small_dataset(stand_ins)
    labels = dataset.labels.tolist()
    training = dataset.subset([i for i, label in enumerate(labels) if label == 2 or i < 12])
    chosen = dataset.labels[list(training.utterances)].numpy()
    model = YARDSTICKS["majority"].fit(training, training.normalisation(), TrainingSettings())
    x = torch.randn(2, 40, BINS, requires_grad=True)
    posteriors = model(x).softmax(1)
    oracle = DummyClassifier(strategy="prior").fit(np.zeros((len(chosen), 1)), chosen)
    np.testing.assert_allclose(posteriors.detach(), oracle.predict_proba(np.zeros((2, 1))), rtol=1e-6)
    assert posteriors.argmax(1).tolist() == [2, 2]
    (gradient,) = torch.autograd.grad(posteriors[:, 0].sum(), x)
    assert not gradient.any()


def test_a_band_that_never_changes_has_no_weight(stand_ins: Path) -> None:
    dataset = small_dataset(stand_ins)
    frames = dataset.bank.frames.clone()
    frames[:, 3] = -87.3
    silent = replace(dataset, bank=replace(dataset.bank, frames=frames))
    model = YARDSTICKS["linear"].fit(silent.subset(range(20)), Normalisation(-31.7, 14.9), TrainingSettings())
    assert isinstance(model, UtteranceClassifier)
    for feature in (3, BINS + 3):
        assert model.std[feature] == 1
        assert model.weight[:, feature].abs().max() < 1e-6


@pytest.mark.fast
def test_statistics_of_bands_have_a_finite_gradient_where_a_band_is_constant() -> None:
    x = torch.randn(3, 50, 6, generator=torch.Generator().manual_seed(0))
    x[:, :, 2] = 0.5
    x.requires_grad_()
    found = band_statistics(x)
    expected = np.concatenate([x.detach().numpy().mean(1), x.detach().numpy().std(1)], axis=1)
    np.testing.assert_allclose(found.detach(), expected, atol=2e-6)
    (gradient,) = torch.autograd.grad(found.square().sum(), x)
    assert gradient.isfinite().all()
