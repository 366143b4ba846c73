"""Inference: from segments to one posterior per utterance, to results and to a validation score."""

import numpy as np
import pytest
import torch
from trials import Pooled, Prepared

from fastser.evaluation.inference import posteriors, result_of, validation_score
from fastser.evaluation.metrics import METRICS, Metric


def test_the_posterior_of_an_utterance_is_the_mean_over_its_segments(prepared: Prepared, model: Pooled) -> None:
    dataset, normalisation = prepared.dataset, prepared.normalisation
    test = dataset.subset(range(len(dataset.corpus.utterances)))
    got = posteriors(model, test, normalisation)
    assert max(np.bincount(test.rows)) > 1
    for row, utterance in enumerate(test.utterances):
        x = dataset.bank.gather(dataset.bank.segments([utterance]), normalisation)
        with torch.no_grad():
            torch.testing.assert_close(got[row], model(x).softmax(1).mean(0))


def test_the_size_of_batches_does_not_matter(
    prepared: Prepared, model: Pooled, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = posteriors(model, prepared.test, prepared.normalisation)
    monkeypatch.setattr("fastser.evaluation.inference.BATCH_SIZE", 3)
    after: list[int] = []
    model.batches.clear()
    apart = posteriors(model, prepared.test, prepared.normalisation, lambda: after.append(len(model.batches)))
    torch.testing.assert_close(apart, together)
    assert after == list(range(1, len(model.batches) + 1))
    assert len(after) > 1


def test_a_model_is_tested_in_eval_mode_without_gradients(prepared: Prepared, model: Pooled) -> None:
    got = posteriors(model.train(), prepared.test, prepared.normalisation)
    assert not model.training
    assert not got.requires_grad


@pytest.mark.fast
def test_a_result_carries_the_truth(prepared: Prepared) -> None:
    subset = prepared.dataset.subset([1, 3, 6])
    truth = subset.dataset.labels[[1, 3, 6]].tolist()
    assert len(set(truth)) > 1
    wrong = [*truth[:2], (truth[2] + 1) % 4]
    result = result_of(subset, torch.eye(4, dtype=torch.float64)[wrong])
    assert result.posteriors.dtype == np.float32
    assert result.labels.tolist() == truth
    assert result.utterance_ids == [prepared.dataset.corpus.utterances[i].id for i in (1, 3, 6)]
    expected = np.zeros((4, 4), np.int64)
    for label, guess in zip(truth, wrong, strict=True):
        expected[label, guess] += 1
    assert result.confusion.tolist() == expected.tolist()


def test_the_validation_score_is_the_named_metric(prepared: Prepared, model: Pooled) -> None:
    batches: list[int] = []
    share = Metric("first", "first", lambda result: float(np.mean(result.posteriors[:, 0])))
    with METRICS.including(share):
        score = validation_score(prepared.test, "first")
    got = score(model, prepared.normalisation, lambda: batches.append(1))
    assert got == pytest.approx(posteriors(model, prepared.test, prepared.normalisation)[:, 0].mean().item())
    assert len(batches) == 1
    result = result_of(prepared.test, posteriors(model, prepared.test, prepared.normalisation))
    for name, value in (("uar", result.uar), ("accuracy", result.accuracy)):
        assert validation_score(prepared.test, name)(model, prepared.normalisation, lambda: None) == value
