"""Aggregation: means over folds and repeats, on numbers known by hand."""

import numpy as np
import pytest
from made_up import confusion, finished, run_id

from fastser.evaluation.metrics import METRICS, Metric
from fastser.experiment.stored_runs import Run
from fastser.report.aggregation import Score, Scores


def score_of(ids: list, runs: list[Run]) -> Score:
    score = Scores(ids, runs).score("source", "cnn", "none", "clean")
    assert score is not None
    return score


@pytest.mark.fast
def test_mean_and_deviation_by_hand() -> None:
    uars = {("f1", 1): 40, ("f2", 1): 60, ("f1", 2): 50, ("f2", 2): 80}
    ids = {cell: run_id("source", "cnn", "none", *cell) for cell in uars}
    score = score_of([*ids.values()], [finished(ids[cell], {"clean": confusion(uar)}) for cell, uar in uars.items()])
    assert score.complete
    assert score.by_repeat == pytest.approx((0.50, 0.65))
    assert score.mean == pytest.approx(0.575)
    assert score.std == pytest.approx(0.15 / 2**0.5)
    assert score.by_fold == pytest.approx((0.45, 0.70))
    assert score.fold_std == pytest.approx(0.25 / 2**0.5)
    assert score.pooled_uar == score.accuracy == pytest.approx(0.575)
    assert score.metrics["uar"] == pytest.approx((0.50, 0.65))
    assert score.metrics["accuracy"] == pytest.approx((0.50, 0.65))


def test_pooled_uar_and_accuracy_weigh_folds_and_classes_by_size() -> None:
    small, large = np.diag([10, 10, 10, 10]), 3 * np.roll(np.diag([10, 10, 10, 10]), 1, axis=1)
    large[0] = [60, 0, 0, 0]
    ids = [run_id("source", "cnn", "none", fold, 1) for fold in ("f1", "f2")]
    runs = [finished(identity, {"clean": matrix}) for identity, matrix in zip(ids, (small, large), strict=True)]
    score = score_of(ids, runs)
    assert score.mean == pytest.approx((1 + 0.25) / 2)
    assert score.pooled_uar == pytest.approx((1 + 3 * 0.25) / 4)
    assert score.accuracy == pytest.approx(100 / 190)
    assert score.metrics["accuracy"] == pytest.approx(((1 + 60 / 150) / 2,))
    assert score.std is None


def test_a_repeat_with_a_missing_fold_does_not_count() -> None:
    ids = [run_id("source", "cnn", "none", fold, repeat) for repeat in (1, 2) for fold in ("f1", "f2")]
    runs = [finished(i, {"clean": confusion(u)}) for i, u in zip(ids[:3], (40, 60, 70), strict=True)]
    score = score_of(ids, runs)
    assert not score.complete
    assert (score.finished, score.planned) == (3, 4)
    assert (score.repeats, score.planned_repeats) == (1, 2)
    assert score.by_repeat == pytest.approx((0.5,))
    assert score.by_fold == pytest.approx((0.4, 0.6))
    assert score.metrics["uar"] == pytest.approx((0.5,))
    assert score.confusion.tolist() == (confusion(40) + confusion(60)).tolist()


def test_unfinished_repeats_count_while_no_repeat_is_complete() -> None:
    ids = [run_id("source", "cnn", "none", fold, repeat) for repeat in (1, 2) for fold in ("f1", "f2", "f3")]
    runs = [finished(i, {"clean": confusion(u)}) for i, u in zip(ids[:2], (40, 60), strict=True)]
    score = score_of(ids, runs)
    assert (score.repeats, len(score.by_fold), score.finished) == (0, 2, 2)
    assert score.mean == pytest.approx(0.5)


def test_a_cell_that_is_not_planned_has_no_score() -> None:
    identity = run_id("source", "cnn", "none", "f1", 1)
    scores = Scores([identity], [finished(identity, {"clean": confusion(40)})])
    assert scores.score("source", "cnn", "speed", "clean") is None
    missing = scores.score("source", "cnn", "none", "fgsm")
    assert missing is not None
    assert (missing.finished, missing.planned) == (0, 1)


def test_a_registered_metric_is_averaged_over_folds() -> None:
    ids = [run_id("source", "cnn", "none", fold, 1) for fold in ("f1", "f2")]
    values = iter((0.2, 0.4))
    runs = []
    for identity in ids:
        run = finished(identity, {"clean": confusion(50)})
        runs.append(
            Run(run.id, run.confusions, run.by_speaker, {"clean": {**run.metrics["clean"], "f1": next(values)}}, {})
        )
    with METRICS.including(Metric("f1", "F1", lambda _: 0.0)):
        assert score_of(ids, runs).metrics["f1"] == pytest.approx((0.3,))
