"""Properties of the results store: what is saved is read back, and a damaged file is never taken for a result."""

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

from fastser.evaluation.metrics import ConditionResult
from fastser.experiment.grid import AUGMENTATIONS, MODELS, TASKS
from fastser.experiment.store import ResultsError, ResultStore, RunId

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
KEYS = st.integers(0, 2**64 - 1).map("{:016x}".format)
IDS = st.builds(
    RunId,
    task=st.sampled_from(TASKS),
    model=st.sampled_from([*MODELS]),
    augmentation=st.sampled_from(AUGMENTATIONS),
    fold=TEXT,
    repeat=st.integers(1, 20),
    corpus=TEXT,
    key=KEYS,
)
CONDITION_NAMES = st.sampled_from(["clean", "noise-0db", "fgsm", "cross-corpus"]) | st.builds(
    "noise-{}-{}db".format, st.text("abé _0-.", min_size=1, max_size=6), st.integers(-10, 30)
)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
FACTS = st.dictionaries(
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
        rng.dirichlet(np.ones(4), utterances).astype(np.float32), rng.integers(0, 4, utterances), names
    )


CONDITIONS = st.dictionaries(CONDITION_NAMES, results(), min_size=1, max_size=4)


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder for one example."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def assert_holds(
    store: ResultStore, training: RunId, conditions: dict[str, ConditionResult], facts: dict[str, Any]
) -> None:
    run = store.load(training.key)
    assert run.id == training
    assert run.facts == facts
    assert list(run.confusions) == list(conditions)
    again = store.posteriors(training.key)
    assert list(again) == list(conditions)
    for name, saved in conditions.items():
        assert run.confusions[name].dtype == np.int64
        np.testing.assert_array_equal(run.confusions[name], saved.confusion)
        np.testing.assert_array_equal(again[name].posteriors, saved.posteriors)
        np.testing.assert_array_equal(again[name].labels, saved.labels)
        assert list(again[name].utterance_ids) == list(saved.utterance_ids)
        assert run.confusions[name].sum() == len(saved.labels)


@given(IDS, CONDITIONS, FACTS, CONDITIONS, FACTS)
def test_what_is_saved_last_is_read_back_by_anyone(
    training: RunId,
    first: dict[str, ConditionResult],
    facts: dict[str, Any],
    second: dict[str, ConditionResult],
    other_facts: dict[str, Any],
) -> None:
    with folder() as out:
        store = ResultStore(out)
        assert not store.finished(training.key)
        store.save(training, first, facts)
        assert_holds(ResultStore(out), training, first, facts)
        store.save(training, second, other_facts)
        assert_holds(store, training, second, other_facts)
        assert_holds(ResultStore(out), training, second, other_facts)


@given(st.lists(IDS, max_size=4, unique_by=lambda t: t.key), st.lists(IDS, max_size=2), results(), st.randoms())
def test_collect_gives_the_finished_ones_in_the_order_asked(
    saved: list[RunId], missing: list[RunId], result: ConditionResult, random: Any
) -> None:
    with folder() as out:
        for training in saved:
            ResultStore(out).save(training, {"clean": result}, {})
        keys = {training.key for training in saved}
        asked = [*saved, *(training for training in missing if training.key not in keys)]
        random.shuffle(asked)
        assert [run.id for run in ResultStore(out).collect(asked)] == [t for t in asked if t.key in keys]


@given(
    IDS,
    CONDITIONS,
    st.sampled_from(["json", "npz"]),
    st.sampled_from(["cut", "empty", "missing", "folder", "noise", "other training's"]),
    st.floats(0, 1, exclude_max=True),
    st.binary(max_size=80),
    CONDITIONS,
)
def test_a_torn_or_foreign_file_is_no_result_and_can_be_replaced(
    training: RunId,
    conditions: dict[str, ConditionResult],
    suffix: str,
    damage: str,
    share: float,
    noise: bytes,
    others: dict[str, ConditionResult],
) -> None:
    logging.disable(logging.CRITICAL)
    other = RunId(training.task, "cnn", "none", "other", 99, "other", f"{int(training.key, 16) ^ 1:016x}")
    with folder() as out:
        store = ResultStore(out)
        store.save(training, conditions, {"seed": 1})
        store.save(other, others, {"seed": 2})
        path = out / "runs" / f"{training.key}.{suffix}"
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
                    "other training's": path.with_name(f"{other.key}.{suffix}").read_bytes(),
                }[damage]
            )
        again = ResultStore(out)
        foreign_but_alike = (damage, suffix) == ("other training's", "npz") and list(others) == list(conditions)
        if not foreign_but_alike:  # its posteriors are of the same conditions: only `posteriors` could tell
            assert not again.finished(training.key)
            assert [run.id for run in again.collect([training, other])] == [other]
        if damage != "folder":
            with again.claim(training.key) as mine:
                assert mine or foreign_but_alike
                again.save(training, conditions, {"seed": 3})
            assert_holds(again, training, conditions, {"seed": 3})
        assert_holds(again, other, others, {"seed": 2})
    logging.disable(logging.NOTSET)


@given(IDS, results(), FACTS, st.sampled_from([math.nan, math.inf, {1, 2}, b"", np.float32(1)]))
def test_facts_that_json_does_not_hold_leave_the_old_result(
    training: RunId, result: ConditionResult, facts: dict[str, Any], bad: Any
) -> None:
    with folder() as out:
        store = ResultStore(out)
        store.save(training, {"clean": result}, facts)
        before = {path.name: path.read_bytes() for path in (out / "runs").iterdir()}
        try:
            store.save(training, {"clean": result}, {**facts, "bad": [bad]})
        except ResultsError as error:
            sentence = str(error)
        else:
            sentence = ""
        assert "not plain JSON" in sentence
        assert {path.name: path.read_bytes() for path in (out / "runs").iterdir()} == before
        assert json.loads((out / "runs" / f"{training.key}.json").read_text(encoding="utf-8"))["facts"] == facts


@given(IDS, st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3), st.dictionaries(TEXT, TEXT, max_size=2), results())
def test_a_failure_is_read_back_until_the_training_is_finished(
    training: RunId, failures: list[tuple[str, str]], environment: dict[str, str], result: ConditionResult
) -> None:
    with folder() as out:
        for reason, traceback in failures:
            ResultStore(out).fail(training, reason, traceback, environment)
        store = ResultStore(out)
        (failure,) = store.failures([training])
        assert failure.id == training
        assert (failure.reason, failure.traceback) == failures[-1]
        assert failure.environment == environment
        assert failure.attempts == len(failures)
        assert not store.finished(training.key)
        assert store.collect([training]) == []
        store.save(training, {"clean": result}, {})
        assert store.failures([training]) == []
        assert [run.id for run in store.collect([training])] == [training]
