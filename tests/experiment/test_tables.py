"""Tables and figures: the runs, the conditions and the corpora of each one."""

from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given

from fastser.augmentation import AUGMENTATIONS
from fastser.evaluation.conditions import DrawnNoise, SceneNoise, conditions
from fastser.experiment.grid import GridPoint, plan
from fastser.experiment.tables import TABLES, Table, requestable, tables_of, wanted_by
from fastser.models import MODELS
from fastser.settings import QUICK

FOLDS = {"source": ["a", "b"], "target": ["c", "d", "e"], "cross": ["all"]}


@pytest.mark.fast
@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("table1", {"source": 5 * 2, "target": 5 * 3}),
        ("table2", {"source": 20 * 2}),
        ("table3", {"source": 20 * 2}),
        ("table4", {"cross": 4}),
        ("figure2", {"cross": 20}),
    ],
)
def test_each_table_has_no_more_runs_than_it_needs(table: str, expected: dict[str, int]) -> None:
    points = plan(FOLDS, [*MODELS], [*AUGMENTATIONS], 1, lambda point: wanted_by([table], point))
    assert Counter(point.task for point in points) == expected


def test_every_table_that_can_be_requested_is_known() -> None:
    assert requestable() == ["table1", "table2", "table3", "table4", "figure2"]
    assert {table.part_of for table in TABLES.values()} - {None} <= set(requestable())


def test_a_run_is_shown_in_all_tables_of_its_task_model_and_augmentation() -> None:
    def shown(task: str, model: str, augmentation: str) -> frozenset[str]:
        return tables_of(GridPoint(task, model, augmentation, "a", 1))

    assert shown("source", "cnn", "none") == {"table1", "table2", "table3"}
    assert shown("source", "cnn", "mixup") == {"table2", "table3"}
    assert shown("target", "cnn", "none") == {"table1"}
    assert shown("target", "cnn", "mixup") == frozenset()
    assert shown("cross", "cnn", "speed") == {"figure2"}
    assert shown("cross", "proposed", "speed") == {"table4", "figure2"}
    assert shown("cross", "linear", "none") == {"table4", "figure2"}


def test_a_table_of_one_model_shows_no_other_network() -> None:
    own = Table("own", "Own", "", ("target",), conditions=("clean",), models=("cnn",), augmentations=("speed",))
    with TABLES.including(own):
        assert "own" in requestable()
        assert tables_of(GridPoint("target", "cnn", "speed", "a", 1)) == {"own"}
        assert tables_of(GridPoint("target", "proposed", "speed", "a", 1)) == frozenset()
        assert "own" in tables_of(GridPoint("target", "linear", "none", "a", 1))
        assert "own" not in tables_of(GridPoint("source", "linear", "none", "a", 1))
    assert "own" not in requestable()


@pytest.mark.parametrize(
    ("table", "roles", "missing", "can_be_filled"),
    [
        ("table1", ["source"], ["target"], True),
        ("table1", ["target"], ["source"], True),
        ("table1", [], ["source", "target"], False),
        ("table2", ["source"], ["noise"], False),
        ("table2", ["source", "noise"], [], True),
        ("table2", ["target", "noise"], ["source"], False),
        ("table3", ["source"], [], True),
        ("table4", ["source"], ["target"], False),
        ("table4", ["source", "target"], [], True),
    ],
)
def test_a_table_knows_which_corpora_it_lacks(
    table: str, roles: list[str], missing: list[str], can_be_filled: bool
) -> None:
    assert TABLES[table].missing(roles) == missing
    assert TABLES[table].can_be_filled(roles) == can_be_filled


def test_only_tables_of_the_training_corpus_need_its_speeds() -> None:
    assert TABLES["table2"].trains_on("source", ["speed"])
    assert not TABLES["table2"].trains_on("target", ["speed"])
    assert TABLES["table4"].trains_on("source", ["speed"])
    assert not TABLES["table4"].trains_on("target", ["speed"])
    assert not TABLES["table1"].trains_on("source", ["speed"])
    assert not TABLES["table2"].trains_on("source", [])


@pytest.mark.fast
def test_the_conditions_of_the_source_cover_tables_one_to_three() -> None:
    names = [condition.name for condition in conditions("source", QUICK)]
    assert names[:4] == ["clean", "noise-0db", "noise-10db", "noise-20db"]
    attacks = ["fgsm", "bim", "bim-0.02", "bim-0.04", "bim-0.08"]
    assert names[-5:] == attacks
    assert len(names) == 1 + 3 + 5 * 3 + 5
    assert [condition.name for condition in conditions("source", QUICK, with_noise=False)] == ["clean", *attacks]
    assert [condition.name for condition in conditions("target", QUICK)] == ["clean"]
    assert [condition.name for condition in conditions("cross", QUICK)] == ["cross-corpus"]
    for table in TABLES.values():
        for task in table.tasks:
            assert set(table.columns(QUICK)) <= set(conditions(task, QUICK)), table.name


SNRS = st.integers(-400, 400).map(lambda tenths: tenths / 10)
SCENES = st.text("abé0-_ d", min_size=1).map(lambda scene: scene + "k")


@given(SNRS, SNRS, SCENES, SCENES)
def test_different_noise_conditions_have_different_names(snr: float, other_snr: float, scene: str, other: str) -> None:
    made = {DrawnNoise(("park",), snr), DrawnNoise(("park",), other_snr)}
    made |= {SceneNoise(s, db) for s in (scene, other) for db in (snr, other_snr)}
    assert len({condition.name for condition in made}) == len(made)
    assert SceneNoise(scene, snr).name == f"noise-{scene}-{snr:g}db"
    assert DrawnNoise(("park",), snr).name == f"noise-{snr:g}db"
    assert SceneNoise(scene, snr).level == DrawnNoise(("park",), snr).level == snr
