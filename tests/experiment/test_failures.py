"""Failing runs: recorded in one sentence, tried again on request, and without effect on other runs."""

import errno
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import SMALL, SilentListener, event_names, stand_in_experiment
from torch import Tensor, nn

from fastser.experiment import experiment as experiment_module
from fastser.experiment.executors import runner as run_one
from fastser.experiment.executors.failures import device_is_lost, in_one_sentence
from fastser.experiment.executors.runner import Runner
from fastser.experiment.executors.serial import run_serially
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.experiment.store import ResultStore
from fastser.models import build_model
from fastser.runtime.device import DeviceError
from fastser.runtime.full_memory import is_out_of_memory
from fastser.training.batch_size import advice, fitting_batch_size
from fastser.training.checkpoint import TrainingStopped
from fastser.training.schedule import Epoch
from fastser.training.state import TrainingError

SETTINGS = SMALL.override(["training.max_epochs=2", "training.batch_size=32"])
CNN, LSTM = (GridPoint("target", model, "none", "F01", 1) for model in ("cnn", "cnn-lstm"))


@pytest.fixture(scope="module")
def experiment(stand_ins: Path) -> Experiment:
    return stand_in_experiment(stand_ins, SETTINGS)


class Broken(nn.Module):
    """Model that raises an exception, or returns wrong logits."""

    def __init__(self, error: BaseException | Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.error, BaseException):
            raise self.error
        return self.error(x) * self.weight


@contextmanager
def broken(error: BaseException | Callable[[Tensor], Tensor], name: str = "cnn") -> Iterator[None]:
    """Replace the model `name` by a `Broken` one for the duration of a block. Keys stay the same."""

    def build(wanted: str, **sizes: object) -> nn.Module:
        return Broken(error) if wanted == name else build_model(wanted, **sizes)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment_module, "build_model", build)
        yield


def logits(x: Tensor) -> Tensor:
    return x.mean((1, 2))[:, None].expand(-1, 4)


@pytest.mark.fast
def test_a_failed_run_is_recorded_and_the_others_continue(experiment: Experiment, tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    key = experiment.identify(CNN).key
    with broken(lambda x: logits(x) * float("nan")):
        first, second = run_serially(Runner(experiment, store), [CNN, LSTM], SilentListener())
    assert (first.failure, second.failure) == ("the training loss is nan after epoch 1", None)
    assert first.seconds is not None
    record = json.loads((tmp_path / "runs" / f"{key}.failed.json").read_text())
    assert record["id"] == experiment.identify(CNN).to_json()
    assert record["reason"] == first.failure
    assert "TrainingError" in record["traceback"]
    assert record["environment"]["torch"] == torch.__version__
    assert event_names(tmp_path) == ["started", "failed", "started", "finished"]


def test_a_failed_run_is_tried_again_on_request_and_only_once(experiment: Experiment, tmp_path: Path) -> None:
    store, key = ResultStore(tmp_path), experiment.identify(CNN).key
    with broken(RuntimeError("no luck")):
        Runner(experiment, store).run(CNN, SilentListener())
        again = Runner(experiment, store).run(CNN, SilentListener())
        assert again is not None
        assert (again.seconds, again.failure) == (None, "RuntimeError: no luck")
        assert event_names(tmp_path) == ["started", "failed"]
        retrying = Runner(experiment, store, retry_failed=True)
        retrying.run(CNN, SilentListener())
        retrying.run(CNN, SilentListener())  # as after a claim of another process
        failure = store.failure(key)
        assert failure is not None
        assert failure.attempts == 2
        assert event_names(tmp_path) == ["started", "failed"] * 2
    outcome = Runner(experiment, store, retry_failed=True).run(CNN, SilentListener())
    assert outcome is not None
    assert outcome.failure is None
    assert store.failure(key) is None
    assert not list(tmp_path.rglob("*.failed.json"))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (TrainingError("the training loss is inf after epoch 9"), "the training loss is inf after epoch 9"),
        (OSError(errno.EIO, "Input/output error", "a.wav"), "[Errno 5] Input/output error: 'a.wav'"),
        (KeyError("speaker"), "KeyError: 'speaker'"),
        (ValueError("first line\nsecond line"), "ValueError: first line"),
        (AssertionError(), "AssertionError"),
        (MemoryError("Unable to allocate 9 GiB"), "out of main memory: Unable to allocate 9 GiB"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_exception_becomes_one_sentence(
    experiment: Experiment, tmp_path: Path, error: Exception, sentence: str
) -> None:
    with broken(error):
        outcome = Runner(experiment, ResultStore(tmp_path)).run(CNN, SilentListener())
    assert outcome is not None
    assert outcome.failure == sentence


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (MemoryError("Unable to allocate 9 GiB"), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (OSError(errno.EIO, "Input/output error", "a.wav"), True),
        (TrainingError("the training loss is nan after epoch 9"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_that_may_pass_leaves_the_checkpoint(
    experiment: Experiment, tmp_path: Path, error: Exception, kept: bool
) -> None:
    store, key = ResultStore(tmp_path), experiment.identify(CNN).key
    validated: list[int] = []

    def second_epoch_fails(x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and validated:
            raise error
        validated.extend([len(x)] * (not torch.is_grad_enabled()))
        return logits(x)

    with broken(second_epoch_fails):
        Runner(experiment, store, checkpoint_seconds=0.0).run(CNN, SilentListener())
    assert store.failure(key) is not None
    assert store.checkpoint(key).exists() == kept
    again = Runner(experiment, store, retry_failed=True)
    with broken(logits):
        assert again.run(CNN, SilentListener()).failure is None  # type: ignore[union-attr]
    assert event_names(tmp_path) == ["started", "failed", "continued" if kept else "started", "finished"]
    assert not store.checkpoint(key).exists()


def test_main_memory_that_is_full_is_named() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**14)
    assert in_one_sentence(caught.value).startswith("out of main memory: ")
    assert "400000000000000 bytes" in in_one_sentence(caught.value)


def test_memory_that_is_full_is_told_from_other_errors() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**14)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("the memory of the user"))
    assert not is_out_of_memory(OSError("can't allocate memory"))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=["KeyboardInterrupt", "SystemExit"])
def test_the_end_of_the_process_is_no_failure_of_the_run(
    experiment: Experiment, tmp_path: Path, error: BaseException
) -> None:
    store = ResultStore(tmp_path)
    with broken(error), pytest.raises(type(error)):
        Runner(experiment, store).run(CNN, SilentListener())
    assert store.failure(experiment.identify(CNN).key) is None
    with store.claim(experiment.identify(CNN).key) as mine:
        assert mine


def test_a_stop_ends_the_executor_and_is_no_failure(experiment: Experiment, tmp_path: Path) -> None:
    store, stop = ResultStore(tmp_path), threading.Event()

    class Impatient(SilentListener):
        def epoch(self, epoch: Epoch) -> None:
            stop.set()

    runner = Runner(experiment, store, stop=stop)
    assert list(run_serially(runner, [CNN, LSTM], Impatient())) == []
    assert event_names(tmp_path) == ["started", "stopped"]
    assert store.checkpoint(experiment.identify(CNN).key).exists()
    with pytest.raises(TrainingStopped):
        runner.run(LSTM, SilentListener())
    outcomes = list(run_serially(Runner(experiment, store), [CNN, LSTM], SilentListener()))
    assert [outcome.failure for outcome in outcomes] == [None, None]
    assert event_names(tmp_path) == ["started", "stopped", "continued", "finished", "started", "finished"]


def fits_up_to(batch_size: int) -> Callable[[Tensor], Tensor]:
    """Return a forward pass that runs out of GPU memory above a batch size."""

    def forward(x: Tensor) -> Tensor:
        if len(x) > batch_size:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return logits(x)

    return forward


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        (15, "out of GPU memory at batch size 32; 8 fits: --set training.batch_size=8 "),
        (16, "out of GPU memory at batch size 32; 16 fits: --set training.batch_size=16 "),
        (2, "out of GPU memory at batch size 32; 2 fits: --set training.batch_size=2 "),
        (1, "out of GPU memory at batch size 32, and no smaller one fits in what is free on this GPU"),
    ],
)
def test_a_full_gpu_names_a_batch_size_that_fits(
    experiment: Experiment, tmp_path: Path, limit: int, sentence: str
) -> None:
    with broken(fits_up_to(limit)):
        outcome = Runner(experiment, ResultStore(tmp_path)).run(CNN, SilentListener())
    assert outcome is not None
    assert outcome.failure is not None
    assert outcome.failure.startswith(sentence)
    failure = ResultStore(tmp_path).failure(experiment.identify(CNN).key)
    assert failure is not None
    assert "Tried to allocate 2.00 GiB" in failure.traceback


def test_memory_that_is_free_again_is_mentioned(experiment: Experiment, tmp_path: Path) -> None:
    calls: list[int] = []

    def forward(x: Tensor) -> Tensor:
        calls.append(len(x))
        if len(calls) == 1:
            raise RuntimeError("CUDA error: out of memory")
        return logits(x)

    with broken(forward):
        outcome = Runner(experiment, ResultStore(tmp_path)).run(CNN, SilentListener())
    assert outcome is not None
    assert outcome.failure == advice(32, 32)
    assert "--retry-failed" in advice(32, 32)


def test_a_gpu_that_is_full_during_a_test_names_the_condition(experiment: Experiment, tmp_path: Path) -> None:
    alone = replace(experiment, settings=SETTINGS.override(["training.max_epochs=1"]))
    validation, test = (len(part.segments) for part in alone.subsets(CNN)[1:])
    seen: list[int] = []

    def forward(x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            seen.append(len(x))
            if sum(seen) > validation:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return logits(x)

    with broken(forward):
        outcome = Runner(alone, ResultStore(tmp_path)).run(CNN, SilentListener())
    assert outcome is not None
    assert sum(seen) <= validation + test
    assert outcome.failure == "out of GPU memory while 64 segments were tested under clean"


def test_another_fault_of_a_model_is_no_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        fitting_batch_size(lambda: Broken(RuntimeError("a wrong shape")), 8, (16, 16), torch.device("cpu"), "float32")


def test_a_lost_gpu_ends_the_process_and_only_one_run_fails(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ResultStore(tmp_path)
    monkeypatch.setattr(run_one, "device_is_lost", lambda _: True)
    with (
        broken(torch.AcceleratorError("CUDA error: an illegal memory access was encountered")),
        pytest.raises(DeviceError, match=r"F01, repeat 1: .*illegal memory access.*; this process cannot use cpu"),
    ):
        list(run_serially(Runner(experiment, store), [CNN, LSTM], SilentListener()))
    assert [bool(store.failure(experiment.identify(point).key)) for point in (CNN, LSTM)] == [True, False]
    assert not device_is_lost(torch.device("cpu"))
