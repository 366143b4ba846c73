"""Metrics of predictions, compared with scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score

from fastser.evaluation.metrics import METRICS, ConditionResult, Metric, accuracy_of, uar_of
from fastser.runtime.registry import UnknownNameError


def result(classes: int, occurring: int, utterances: int = 60) -> ConditionResult:
    """Return random predictions among `classes`, for utterances of the first `occurring` classes."""
    rng = np.random.default_rng(classes)
    labels = np.arange(utterances) ** 2 % occurring if occurring == 2 else rng.integers(occurring, size=utterances)
    posteriors = rng.dirichlet(np.ones(classes), utterances).astype(np.float32)
    return ConditionResult(
        posteriors, labels.astype(np.int64), [f"u{i}" for i in range(utterances)], ["03"] * utterances
    )


@pytest.mark.fast
@pytest.mark.parametrize(("classes", "occurring"), [(2, 2), (4, 4), (7, 7), (4, 3)])
def test_metrics_are_those_of_scikit_learn(classes: int, occurring: int) -> None:
    predictions = result(classes, occurring)
    guesses = predictions.posteriors.argmax(axis=1)
    expected = confusion_matrix(predictions.labels, guesses, labels=range(classes))
    assert predictions.confusion.tolist() == expected.tolist()
    recalls = recall_score(predictions.labels, guesses, labels=range(occurring), average="macro", zero_division=0)
    assert predictions.uar == uar_of(predictions.confusion) == pytest.approx(recalls)
    accuracy = accuracy_score(predictions.labels, guesses)
    assert predictions.accuracy == accuracy_of(predictions.confusion) == pytest.approx(accuracy)


def test_the_uar_is_the_first_metric_and_the_registered_ones_compute_what_they_say() -> None:
    predictions = result(4, 4)
    assert list(METRICS) == ["uar", "accuracy"]
    assert METRICS["uar"].of(predictions) == predictions.uar
    assert METRICS["accuracy"].of(predictions) == predictions.accuracy


def test_a_metric_that_does_not_exist_is_named_with_those_that_do() -> None:
    with METRICS.including(Metric("f1", "F1", lambda _: 0.0)), pytest.raises(UnknownNameError) as error:
        METRICS["uarr"]
    for part in ("'uarr'", "'uar'", "accuracy", "f1"):
        assert part in str(error.value)
