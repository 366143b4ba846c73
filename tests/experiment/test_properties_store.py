"""Properties of the results store: saved results are read back, and a damaged file is never taken for a result."""

import json
import logging
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from fastser.augmentation import AUGMENTATIONS
from fastser.evaluation.metrics import ConditionResult
from fastser.experiment.grid import GridPoint, RunId
from fastser.experiment.results_folder import ResultsError
from fastser.experiment.store import ResultStore
from fastser.experiment.tasks import TASKS
from fastser.models import MODELS

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
KEYS = st.integers(0, 2**64 - 1).map("{:016x}".format)
POINTS = st.builds(
    GridPoint,
    task=st.sampled_from([*TASKS]),
    model=st.sampled_from([*MODELS]),
    augmentation=st.sampled_from([*AUGMENTATIONS]),
    fold=TEXT,
    repeat=st.integers(1, 20),
)
IDS = st.builds(RunId, POINTS, corpus=TEXT, key=KEYS)
CONDITION_NAMES = st.sampled_from(["clean", "noise-0db", "fgsm", "cross-corpus"]) | st.builds(
    "noise-{}-{}db".format, st.text("abé _0-.", min_size=1, max_size=6), st.integers(-10, 30)
)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
METADATA = st.dictionaries(
    TEXT,
    st.recursive(
        st.none() | st.booleans() | NUMBERS | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@st.composite
def results(draw: Any) -> ConditionResult:
    utterances = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    names = draw(st.lists(TEXT, min_size=utterances, max_size=utterances))
    return ConditionResult(
        rng.dirichlet(np.ones(4), utterances).astype(np.float32), rng.integers(0, 4, utterances), names, names[::-1]
    )


CONDITIONS = st.dictionaries(CONDITION_NAMES, results(), min_size=1, max_size=4)


@contextmanager
def folder() -> Iterator[Path]:
    """Make a new folder for one example."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@contextmanager
def silent_log() -> Iterator[None]:
    """Drop the warnings about damaged files."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def assert_holds(
    store: ResultStore, run_id: RunId, conditions: dict[str, ConditionResult], metadata: dict[str, Any]
) -> None:
    run = store.load(run_id.key)
    assert run.id == run_id
    assert run.metadata == metadata
    assert list(run.confusions) == list(conditions)
    again = store.posteriors(run_id.key)
    assert list(again) == list(conditions)
    for name, saved in conditions.items():
        assert run.confusions[name].dtype == np.int64
        np.testing.assert_array_equal(run.confusions[name], saved.confusion)
        np.testing.assert_array_equal(again[name].posteriors, saved.posteriors)
        np.testing.assert_array_equal(again[name].labels, saved.labels)
        assert list(again[name].utterance_ids) == list(saved.utterance_ids)
        assert run.confusions[name].sum() == len(saved.labels)


@given(IDS, CONDITIONS, METADATA, CONDITIONS, METADATA)
def test_every_store_reads_back_the_last_saved_results(
    run_id: RunId,
    first: dict[str, ConditionResult],
    metadata: dict[str, Any],
    second: dict[str, ConditionResult],
    other_metadata: dict[str, Any],
) -> None:
    with folder() as out:
        store = ResultStore(out)
        assert not store.finished(run_id.key)
        store.save(run_id, first, metadata)
        assert_holds(ResultStore(out), run_id, first, metadata)
        store.save(run_id, second, other_metadata)
        assert_holds(store, run_id, second, other_metadata)
        assert_holds(ResultStore(out), run_id, second, other_metadata)


@given(st.lists(IDS, max_size=4, unique_by=lambda t: t.key), st.lists(IDS, max_size=2), results(), st.randoms())
def test_the_finished_runs_are_collected_in_the_order_asked(
    saved: list[RunId], missing: list[RunId], result: ConditionResult, random: Any
) -> None:
    with folder() as out:
        for run_id in saved:
            ResultStore(out).save(run_id, {"clean": result}, {})
        keys = {run_id.key for run_id in saved}
        asked = [*saved, *(run_id for run_id in missing if run_id.key not in keys)]
        random.shuffle(asked)
        assert [run.id for run in ResultStore(out).collect(asked)] == [t for t in asked if t.key in keys]


@given(
    IDS,
    CONDITIONS,
    st.sampled_from(["json", "npz"]),
    st.sampled_from(["cut", "empty", "missing", "folder", "noise", "other run's"]),
    st.floats(0, 1, exclude_max=True),
    st.binary(max_size=80),
    CONDITIONS,
)
def test_a_damaged_or_foreign_file_is_no_result_and_can_be_replaced(
    run_id: RunId,
    conditions: dict[str, ConditionResult],
    suffix: str,
    damage: str,
    share: float,
    noise: bytes,
    others: dict[str, ConditionResult],
) -> None:
    other = RunId(GridPoint("cross", "cnn", "none", "other", 99), "other", f"{int(run_id.key, 16) ^ 1:016x}")
    with silent_log(), folder() as out:
        store = ResultStore(out)
        store.save(run_id, conditions, {"seed": 1})
        store.save(other, others, {"seed": 2})
        path = out / "runs" / f"{run_id.key}.{suffix}"
        whole = path.read_bytes()
        path.unlink()
        if damage == "folder":
            path.mkdir()
        elif damage != "missing":
            path.write_bytes(
                {
                    "cut": whole[: int(share * len(whole))],
                    "empty": b"",
                    "noise": noise,
                    "other run's": path.with_name(f"{other.key}.{suffix}").read_bytes(),
                }[damage]
            )
        again = ResultStore(out)
        alike = path.is_file() and path.read_bytes() == whole
        if not alike:  # otherwise the other run has the same posteriors
            assert not again.finished(run_id.key)
            assert [run.id for run in again.collect([run_id, other])] == [other]
        if damage != "folder":
            with again.claim(run_id.key) as mine:
                assert mine or alike
                again.save(run_id, conditions, {"seed": 3})
            assert_holds(again, run_id, conditions, {"seed": 3})
        assert_holds(again, other, others, {"seed": 2})


@given(IDS, results(), METADATA, st.sampled_from([math.nan, math.inf, {1, 2}, b"", np.float32(1)]))
def test_metadata_that_json_cannot_hold_leave_the_old_result(
    run_id: RunId, result: ConditionResult, metadata: dict[str, Any], bad: Any
) -> None:
    with folder() as out:
        store = ResultStore(out)
        store.save(run_id, {"clean": result}, metadata)
        before = {path.name: path.read_bytes() for path in (out / "runs").iterdir()}
        try:
            store.save(run_id, {"clean": result}, {**metadata, "bad": [bad]})
        except ResultsError as error:
            sentence = str(error)
        else:
            sentence = ""
        assert "not plain JSON" in sentence
        assert {path.name: path.read_bytes() for path in (out / "runs").iterdir()} == before
        assert json.loads((out / "runs" / f"{run_id.key}.json").read_text(encoding="utf-8"))["metadata"] == metadata


@given(IDS, st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3), st.dictionaries(TEXT, TEXT, max_size=2), results())
def test_a_failure_is_read_back_until_the_run_is_finished(
    run_id: RunId, failures: list[tuple[str, str]], environment: dict[str, str], result: ConditionResult
) -> None:
    with folder() as out:
        for reason, traceback in failures:
            ResultStore(out).fail(run_id, reason, traceback, environment)
        store = ResultStore(out)
        (failure,) = store.failures([run_id])
        assert failure.id == run_id
        assert (failure.reason, failure.traceback) == failures[-1]
        assert failure.environment == environment
        assert failure.attempts == len(failures)
        assert not store.finished(run_id.key)
        assert store.collect([run_id]) == []
        store.save(run_id, {"clean": result}, {})
        assert store.failures([run_id]) == []
        assert [run.id for run in store.collect([run_id])] == [run_id]
