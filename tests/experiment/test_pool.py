"""The pool of workers on a stand-in for Ray: answers, deaths, stops, and clusters that are too small."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fake_ray import FakeRay, RayError
from invented_results import identity, save
from small_runs import SMALL, SilentListener, event_names, stand_in_experiment

from fastser.experiment.executors import ExecutorError, Outcome, RunOptions, Work, pool, ray_workers
from fastser.experiment.executors.pool import Pool
from fastser.experiment.executors.ray_workers import RayWorkers
from fastser.experiment.executors.runner import Runner
from fastser.experiment.executors.worker_config import WorkerConfig
from fastser.experiment.grid import GridPoint
from fastser.experiment.store import ResultStore
from fastser.runtime.files import cache_at
from fastser.training.schedule import Epoch

RUNS = [identity(f"{number:016x}", repeat=number) for number in (1, 2, 3)]
Answer = Callable[[str], tuple[str, Any]]


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again at once for a run that another process has."""
    monkeypatch.setattr(pool, "_CLAIMED_ELSEWHERE_SECONDS", 0.0)
    monkeypatch.setattr(pool, "_POLL_SECONDS", 0.01)


def outcomes_of(
    monkeypatch: pytest.MonkeyPatch,
    store: ResultStore,
    answer: Answer,
    opening: Callable[[], tuple[str, Any]] = lambda: ("ready", None),
    ray: FakeRay | None = None,
    cpus: int = 1,
) -> Iterator[Outcome]:
    """Run a pool whose workers give answers of a function of the key, after they have opened their data."""

    class Scripted:
        def __init__(self, config: str) -> None: ...

        def open(self) -> tuple[str, Any]:
            return opening()

        def run(self, point: GridPoint, key: str) -> tuple[str, Any]:
            return answer(key)

        def events(self) -> list[tuple[str, Any]]:
            return []

    monkeypatch.setattr(ray_workers, "Actor", Scripted)
    work = Work(Runner(None, store), RUNS, RunOptions(), SilentListener)  # type: ignore[arg-type]
    return Pool(RayWorkers(ray or FakeRay(), Path("none"), cpus, 0.0), work).run()


def answers(store: ResultStore, key: str, *first: tuple[str, Any] | Exception) -> Answer:
    """Return a function that gives some answers for one key first, and then finishes every run."""
    left = list(first)

    def answer(asked: str) -> tuple[str, Any]:
        if asked == key and left:
            given = left.pop(0)
            if isinstance(given, Exception):
                raise given
            return given
        save(store, asked)
        return "done", 1.5

    return answer


@pytest.mark.fast
def test_every_run_is_executed_and_its_results_are_read(monkeypatch: pytest.MonkeyPatch, store: ResultStore) -> None:
    save(store, RUNS[1].key)
    outcomes = list(outcomes_of(monkeypatch, store, answers(store, "")))
    assert {outcome.run_id: outcome.seconds for outcome in outcomes} == {RUNS[0]: 1.5, RUNS[1]: None, RUNS[2]: 1.5}
    assert all(outcome.results for outcome in outcomes if outcome.seconds is not None)
    assert [outcome.failure for outcome in outcomes] == [None] * 3


def test_a_run_that_failed_before_is_listed_and_starts_no_worker(
    monkeypatch: pytest.MonkeyPatch, store: ResultStore
) -> None:
    for run_id in RUNS:
        store.fail(run_id, "no luck", "Traceback ...", {})
    outcomes = list(outcomes_of(monkeypatch, store, lambda key: pytest.fail("it was tried again"), ray=FakeRay([])))
    assert [outcome.failure for outcome in outcomes] == ["no luck"] * 3


@pytest.mark.parametrize(
    ("first", "failure"),
    [
        (("failed", "the loss is nan"), "the loss is nan"),
        (("lost", "the GPU is lost"), "the GPU is lost"),
        (ValueError("wrong\nsecond line"), "wrong"),
        (("elsewhere", None), None),
        (RayError("the worker died"), None),
    ],
    ids=["failed", "lost", "exception", "elsewhere", "dead"],
)
def test_an_answer_concerns_one_run_only(
    monkeypatch: pytest.MonkeyPatch, store: ResultStore, first: tuple[str, Any] | Exception, failure: str | None
) -> None:
    ray = FakeRay()
    outcomes = outcomes_of(monkeypatch, store, answers(store, RUNS[0].key, first), ray=ray)
    assert {outcome.run_id: outcome.failure for outcome in outcomes} == dict.fromkeys(RUNS) | {RUNS[0]: failure}
    replaced = isinstance(first, RayError) or first == ("lost", "the GPU is lost")
    assert len(ray.killed) == replaced


def test_a_run_of_which_three_workers_die_has_failed(
    monkeypatch: pytest.MonkeyPatch, store: ResultStore, tmp_path: Path
) -> None:
    deaths = [RayError(f"death {number}\ndetails") for number in (1, 2, 3)]
    store.checkpoint(RUNS[0].key).parent.mkdir()
    store.checkpoint(RUNS[0].key).write_bytes(b"a state")
    outcomes = outcomes_of(monkeypatch, store, answers(store, RUNS[0].key, *deaths))
    failures = {outcome.run_id: outcome.failure for outcome in outcomes}
    reason = "3 workers died during this run, the last one with: death 3"
    assert failures == dict.fromkeys(RUNS) | {RUNS[0]: reason}
    failure = store.failure(RUNS[0].key)
    assert failure is not None
    assert failure.reason == reason
    assert store.checkpoint(RUNS[0].key).exists()  # the system may have killed the workers for want of memory
    assert event_names(tmp_path) == ["failed"]


def test_workers_that_die_at_their_start_end_the_grid(monkeypatch: pytest.MonkeyPatch, store: ResultStore) -> None:
    def die() -> tuple[str, Any]:
        raise RayError("no such library")

    with pytest.raises(ExecutorError, match=r"^3 workers died while they started: no such library$"):
        list(outcomes_of(monkeypatch, store, answers(store, ""), die))


@pytest.mark.parametrize("where", ["open", "run"])
def test_a_worker_that_can_execute_nothing_ends_the_grid(
    monkeypatch: pytest.MonkeyPatch, store: ResultStore, where: str
) -> None:
    useless = ("unusable", "the data are not there")
    answer = answers(store, RUNS[0].key, *[useless] * (where == "run"))
    with pytest.raises(ExecutorError, match=r"^the data are not there$"):
        list(outcomes_of(monkeypatch, store, answer, lambda: useless if where == "open" else ("ready", None)))


@pytest.mark.fast
@pytest.mark.parametrize("unusable", [{1}, {0, 2}, {0, 1, 2}])
def test_workers_that_cannot_open_their_data_leave_the_grid_to_the_others(
    monkeypatch: pytest.MonkeyPatch, store: ResultStore, caplog: pytest.LogCaptureFixture, unusable: set[int]
) -> None:
    number, ray = count(), FakeRay([1.0, 1.0, 1.0])
    outcomes = outcomes_of(
        monkeypatch,
        store,
        answers(store, ""),
        lambda: ("unusable", "out of GPU memory") if next(number) in unusable else ("ready", None),
        ray,
    )
    if len(unusable) == 3:
        with pytest.raises(ExecutorError, match=r"^out of GPU memory$"):
            list(outcomes)
    else:
        assert {outcome.run_id: outcome.seconds for outcome in outcomes} == dict.fromkeys(RUNS, 1.5)
        (warning,) = caplog.records
        assert warning.getMessage() == "out of GPU memory. The grid continues with fewer workers."
    assert len(ray.killed) == len(unusable)
    assert next(number) == 3  # no other worker took their place


def test_a_cluster_without_a_node_that_is_large_enough_is_refused(
    monkeypatch: pytest.MonkeyPatch, store: ResultStore
) -> None:
    sentence = (
        r"no node of the Ray cluster is large enough .*: 4096 CPUs \(--cpus-per-run\) and 0 GPUs \(--gpus-per-run"
    )
    with pytest.raises(ExecutorError, match=sentence):
        list(outcomes_of(monkeypatch, store, answers(store, ""), ray=FakeRay([2.0, 4095.0]), cpus=4096))
    with pytest.raises(ExecutorError, match="no node of the Ray cluster is alive any more"):
        list(outcomes_of(monkeypatch, store, answers(store, ""), ray=FakeRay([])))


def test_a_stop_leaves_a_checkpoint_from_which_the_next_pool_continues(stand_ins: Path, tmp_path: Path) -> None:
    """The workers of this test are the real ones, in a thread. The run is stopped after the first reported epoch."""
    endless = SMALL.override(["training.max_epochs=100000", "training.stop_after=100000"])
    experiment, store = stand_in_experiment(stand_ins, endless), ResultStore(tmp_path)
    runs = [experiment.identify(GridPoint("target", name, "none", "F01", 1)) for name in ("cnn", "cnn-lstm")]
    seen: list[int] = []

    class Impatient(SilentListener):
        def __init__(self, stop: threading.Event) -> None:
            self.stop = stop

        def epoch(self, epoch: Epoch) -> None:
            seen.append(epoch.number)
            self.stop.set()

    for _ in range(2):
        stop = threading.Event()
        runner = Runner(experiment, store, stop=stop, checkpoint_seconds=0.0)
        with cache_at(stand_ins / "cache"):
            config = WorkerConfig.of(runner, tmp_path, 1).write()
        work = Work(runner, runs, RunOptions(), partial(Impatient, stop))
        assert list(Pool(RayWorkers(FakeRay(), config, 1, 0.0), work).run()) == []
        assert store.checkpoint(runs[0].key).exists()
    assert event_names(tmp_path) == ["started", "stopped", "continued", "stopped"]
    assert seen == sorted(set(seen))
