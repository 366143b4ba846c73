"""The grid of runs: points, identities, the plan."""

from collections import Counter

import pytest

from fastser.augmentation import AUGMENTATIONS
from fastser.experiment.grid import GridPoint, RunId, plan
from fastser.experiment.tables import requestable, wanted_by
from fastser.models import MODELS
from fastser.settings import PAPER
from fastser.training.yardsticks import YARDSTICKS

FOLDS = {"source": ["a", "b"], "target": ["c", "d", "e"], "cross": ["all"]}


@pytest.mark.fast
def test_yardsticks_are_planned_once_without_augmentation_in_every_task() -> None:
    points = plan(FOLDS, ["cnn", *YARDSTICKS], ["speed", "mixup"], 2, lambda point: wanted_by(requestable(), point))
    of_networks = [point for point in points if point.model == "cnn"]
    of_yardsticks = [point for point in points if point.model in YARDSTICKS]
    assert Counter(point.task for point in of_networks) == {"source": 8, "cross": 4}
    assert Counter(point.task for point in of_yardsticks) == {"source": 8, "target": 12, "cross": 4}
    assert {point.augmentation for point in of_yardsticks} == {"none"}


@pytest.mark.fast
def test_the_paper_has_2000_runs_on_the_source_600_on_the_target_and_200_across_corpora() -> None:
    names = {"source": [f"s{i}" for i in range(10)], "target": [f"t{i}" for i in range(12)], "cross": ["all"]}
    everything = requestable()
    points = plan(
        names, [*MODELS], [*AUGMENTATIONS], PAPER.protocol.repeats, lambda point: wanted_by(everything, point)
    )
    assert Counter(point.task for point in points) == {"source": 2000, "target": 600, "cross": 200}
    assert len(set(points)) == len(points)


def test_a_task_without_folds_is_left_out() -> None:
    assert plan({"source": ["a"]}, ["cnn"], ["none"], 1) == (GridPoint("source", "cnn", "none", "a", 1),)


def test_points_are_ordered_by_repeat_task_fold_model_and_augmentation() -> None:
    points = plan(FOLDS, ["cnn", "proposed"], ["none", "mixup"], 2)
    tasks, models, augmentations = [*FOLDS], ["cnn", "proposed"], ["none", "mixup"]

    def place(point: GridPoint) -> tuple[int, int, str, int, int]:
        return (
            point.repeat,
            tasks.index(point.task),
            point.fold,
            models.index(point.model),
            augmentations.index(point.augmentation),
        )

    assert [place(point) for point in points] == sorted(place(point) for point in points)
    assert len(points) == 2 * (2 + 3 + 1) * 2 * 2


def test_only_wanted_points_are_planned() -> None:
    points = plan(FOLDS, ["cnn"], ["none"], 1, lambda point: point.fold in ("b", "all"))
    assert [(point.task, point.fold) for point in points] == [("source", "b"), ("cross", "all")]


def test_an_identity_survives_json_and_says_what_it_is() -> None:
    run_id = RunId(GridPoint("source", "proposed", "speed+mixup", "Ses01F", 1), "EMO-DB", "0123456789abcdef")
    assert RunId.from_json(run_id.to_json()) == run_id
    assert run_id.label == "EMO-DB: proposed, speed+mixup, fold Ses01F, repeat 1"
    with pytest.raises(KeyError):
        RunId.from_json({name: value for name, value in run_id.to_json().items() if name != "key"})
