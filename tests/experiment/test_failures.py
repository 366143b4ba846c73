"""What a training that fails, a full disk and a full GPU do to the others: nothing."""

import errno
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jobs import Nobody, event_names
from torch import Tensor, nn

from fastser.data.corpora import read_corpus
from fastser.data.corpora.synthetic import generate
from fastser.data.dataset import prepare
from fastser.experiment import experiment as experiment_module
from fastser.experiment.executors import run_one as job_module
from fastser.experiment.executors import serial
from fastser.experiment.executors.failures import device_is_lost, in_one_sentence
from fastser.experiment.executors.run_one import Runner
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.experiment.store import ResultsError, ResultStore
from fastser.models import build_model
from fastser.runtime.device import DeviceError
from fastser.settings import QUICK
from fastser.training.batch_size import advice, fitting_batch_size
from fastser.training.checkpoint import TrainingStopped
from fastser.training.loop import Epoch, TrainingError

SETTINGS = QUICK.override(["training.max_epochs=2", "training.batch_size=32"])
CNN, LSTM = (GridPoint("target", model, "none", "F01", 1) for model in ("cnn", "cnn-lstm"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTSER_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def experiment(cache: Path) -> Experiment:
    target = prepare(read_corpus("msp-improv", generate(cache / "speech", utterances_per_class=1).msp_improv), SETTINGS)
    return Experiment(SETTINGS, 0, None, target, None, torch.device("cpu"))


class Broken(nn.Module):
    """A model whose training ends in an exception."""

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
    """While the block runs, the architecture `name` is a `Broken` model."""

    def build(wanted: str, **sizes: object) -> nn.Module:
        return Broken(error) if wanted == name else build_model(wanted, **sizes)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment_module, "build_model", build)
        yield


def logits(x: Tensor) -> Tensor:
    return x.mean((1, 2))[:, None].expand(-1, 4)


def test_one_that_fails_is_recorded_and_the_others_go_on(experiment: Experiment, tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    key = experiment.identify(CNN).key
    with broken(lambda x: logits(x) * float("nan")):
        first, second = serial.run(Runner(experiment, store), [CNN, LSTM], Nobody())
    assert (first.failure, second.failure) == ("the training loss is nan after epoch 1", None)
    assert first.seconds is not None
    record = json.loads((tmp_path / "runs" / f"{key}.failed.json").read_text())
    assert record["id"]["model"] == "cnn"
    assert record["reason"] == first.failure
    assert "TrainingError" in record["traceback"]
    assert record["environment"]["torch"] == torch.__version__
    assert event_names(tmp_path) == ["started", "failed", "started", "finished"]


def test_it_is_tried_again_only_when_asked_and_then_once(experiment: Experiment, tmp_path: Path) -> None:
    store, key = ResultStore(tmp_path), experiment.identify(CNN).key
    with broken(RuntimeError("no luck")):
        Runner(experiment, store).run(CNN, Nobody())
        again = Runner(experiment, store).run(CNN, Nobody())
        assert again is not None
        assert (again.seconds, again.failure) == (None, "RuntimeError: no luck")
        assert event_names(tmp_path) == ["started", "failed"]
        retrying = Runner(experiment, store, retry_failed=True)
        retrying.run(CNN, Nobody())
        retrying.run(CNN, Nobody())  # as after a claim of another process
        failure = store.failure(key)
        assert failure is not None
        assert failure.attempts == 2
        assert event_names(tmp_path) == ["started", "failed"] * 2
    outcome = Runner(experiment, store, retry_failed=True).run(CNN, Nobody())
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
def test_whatever_is_raised_is_one_sentence(
    experiment: Experiment, tmp_path: Path, error: Exception, sentence: str
) -> None:
    with broken(error):
        outcome = Runner(experiment, ResultStore(tmp_path)).run(CNN, Nobody())
    assert outcome is not None
    assert outcome.failure == sentence


def test_main_memory_that_is_full_is_named() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**14)
    assert in_one_sentence(caught.value).startswith("out of main memory: ")
    assert "400000000000000 bytes" in in_one_sentence(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=["KeyboardInterrupt", "SystemExit"])
def test_the_end_of_the_process_is_no_failure(experiment: Experiment, tmp_path: Path, error: BaseException) -> None:
    store = ResultStore(tmp_path)
    with broken(error), pytest.raises(type(error)):
        Runner(experiment, store).run(CNN, Nobody())
    assert store.failure(experiment.identify(CNN).key) is None
    with store.claim(experiment.identify(CNN).key) as mine:
        assert mine


def test_a_stop_ends_the_executor_and_is_no_failure(experiment: Experiment, tmp_path: Path) -> None:
    store, stop = ResultStore(tmp_path), threading.Event()

    class Impatient(Nobody):
        def epoch(self, epoch: Epoch) -> None:
            stop.set()

    job = Runner(experiment, store, stop=stop)
    assert list(serial.run(job, [CNN, LSTM], Impatient())) == []
    assert event_names(tmp_path) == ["started", "stopped"]
    assert store.checkpoint(experiment.identify(CNN).key).exists()
    with pytest.raises(TrainingStopped):
        job.run(LSTM, Nobody())
    outcomes = list(serial.run(Runner(experiment, store), [CNN, LSTM], Nobody()))
    assert [outcome.failure for outcome in outcomes] == [None, None]
    assert event_names(tmp_path) == ["started", "stopped", "continued", "finished", "started", "finished"]


def fits_up_to(batch_size: int) -> Callable[[Tensor], Tensor]:
    """Logits of a model that runs out of GPU memory above a batch size."""

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
def test_out_of_gpu_memory_says_what_fits(experiment: Experiment, tmp_path: Path, limit: int, sentence: str) -> None:
    with broken(fits_up_to(limit)):
        outcome = Runner(experiment, ResultStore(tmp_path)).run(CNN, Nobody())
    assert outcome is not None
    assert outcome.failure is not None
    assert outcome.failure.startswith(sentence)
    failure = ResultStore(tmp_path).failure(experiment.identify(CNN).key)
    assert failure is not None
    assert "Tried to allocate 2.00 GiB" in failure.traceback


def test_memory_that_is_free_again_is_said(experiment: Experiment, tmp_path: Path) -> None:
    calls: list[int] = []

    def forward(x: Tensor) -> Tensor:
        calls.append(len(x))
        if len(calls) == 1:
            raise RuntimeError("CUDA error: out of memory")
        return logits(x)

    with broken(forward):
        outcome = Runner(experiment, ResultStore(tmp_path)).run(CNN, Nobody())
    assert outcome is not None
    assert outcome.failure == advice(32, 32)
    assert "--retry-failed" in advice(32, 32)


def test_out_of_gpu_memory_in_a_test_says_so(experiment: Experiment, tmp_path: Path) -> None:
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
        outcome = Runner(alone, ResultStore(tmp_path)).run(CNN, Nobody())
    assert outcome is not None
    assert sum(seen) <= validation + test
    assert outcome.failure == "out of GPU memory while 64 segments were tested under clean"


def test_what_is_wrong_with_a_model_is_no_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        fitting_batch_size(lambda: Broken(RuntimeError("a wrong shape")), 8, (16, 16), torch.device("cpu"))


def test_a_lost_gpu_ends_the_process_and_only_one_training_fails(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ResultStore(tmp_path)
    monkeypatch.setattr(job_module, "device_is_lost", lambda _: True)
    with (
        broken(torch.AcceleratorError("CUDA error: an illegal memory access was encountered")),
        pytest.raises(DeviceError, match=r"F01, repeat 1: .*illegal memory access.*; this process cannot use cpu"),
    ):
        list(serial.run(Runner(experiment, store), [CNN, LSTM], Nobody()))
    assert [bool(store.failure(experiment.identify(cell).key)) for cell in (CNN, LSTM)] == [True, False]
    assert not device_is_lost(torch.device("cpu"))


def outcome_bits(out: Path, key: str) -> tuple[object, list[bytes]]:
    store = ResultStore(out)
    facts = {name: value for name, value in store.load(key).facts.items() if not name.endswith("_seconds")}
    return facts, [result.posteriors.tobytes() for result in store.posteriors(key).values()]


@pytest.fixture(scope="module")
def undisturbed(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, list[bytes]]:
    out = tmp_path_factory.mktemp("undisturbed")
    Runner(experiment, ResultStore(out)).run(CNN, Nobody())
    return outcome_bits(out, experiment.identify(CNN).key)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("size", "file", "options"),
    [
        (20, "log.jsonl", {}),
        (400, ".json", {}),
        (2000, ".json", {}),
        (20_000, ".safetensors", {"checkpoint_seconds": 0.0}),
        (20_000, ".safetensors", {"keep_models_in": Path()}),
    ],
    ids=["log", "posteriors", "facts", "checkpoint", "model"],
)
def test_a_file_that_cannot_be_written_whole_ends_the_run_and_loses_nothing(
    experiment: Experiment,
    undisturbed: tuple[object, list[bytes]],
    tmp_path: Path,
    size: int,
    file: str,
    options: dict[str, object],
) -> None:
    key = experiment.identify(CNN).key
    if "keep_models_in" in options:
        options = {"keep_models_in": tmp_path}
    with files_of_at_most(size), pytest.raises(ResultsError, match=rf"{file} cannot be written: File too large$"):
        list(serial.run(Runner(experiment, ResultStore(tmp_path), **options), [CNN, LSTM], Nobody()))  # type: ignore[arg-type]
    store = ResultStore(tmp_path)
    assert not store.finished(key)
    assert store.failure(key) is None
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".part", ".safetensors")]
    outcomes = list(serial.run(Runner(experiment, store), [CNN], Nobody()))
    assert [outcome.failure for outcome in outcomes] == [None]
    assert outcome_bits(tmp_path, key) == undisturbed
    assert event_names(tmp_path)[-2:] == ["started", "finished"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """A file system of 32 KiB, and how to mount it anew with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True, capture_output=True)

    try:
        mount("size=32k")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small file system cannot be mounted here: {error}")
    try:
        yield folder, lambda options: mount(f"remount,{options}")
    finally:
        subprocess.run(["umount", folder], check=True)


def command(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[str], str]:
    from fastser.reproduce import main

    arguments = ["--table=1", "--models=cnn", "--folds=2", "--set=training.max_epochs=1", f"--out={out}"]
    arguments += ["--set=noise.scenes=park", "--set=attack.bim_steps=1"]
    monkeypatch.setattr(sys, "argv", ["fastser-reproduce", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    printed = capsys.readouterr()
    return int(str(exit_.value.code)), printed.err.splitlines(), printed.out


@pytest.mark.usefixtures("cache")
def test_a_full_disk_is_one_sentence_and_more_space_is_all_it_takes(
    small_disk: tuple[Path, Callable[[str], None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    disk, remount = small_disk
    status, errors, _ = command(disk, monkeypatch, capsys)
    assert status == 2
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {disk}/")
    assert "No space left on device" in errors[0]
    assert not list(disk.rglob("*.part"))
    before = {path.name: path.read_bytes() for path in (disk / "runs").glob("*.json")}
    assert 0 < len(before) < 4
    remount("size=10m")
    status, errors, said = command(disk, monkeypatch, capsys)
    assert (status, errors) == (0, [])
    assert f"{len(before)} reused, {4 - len(before)} to do" in said
    assert all((disk / "runs" / name).read_bytes() == text for name, text in before.items())
    assert command(tmp_path / "elsewhere", monkeypatch, capsys)[0] == 0
    assert (disk / "table1.csv").read_text() == (tmp_path / "elsewhere" / "table1.csv").read_text()
    remount("ro")
    status, errors, _ = command(disk, monkeypatch, capsys)
    assert (status, errors) == (2, [f"error: --out {disk} cannot be written: Read-only file system"])


def test_unusable_files_are_each_named_once_and_their_trainings_done_again(
    experiment: Experiment,
    undisturbed: tuple[object, list[bytes]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cells = [replace(CNN, repeat=repeat) for repeat in (1, 2, 3, 4)]
    keys = [experiment.identify(cell).key for cell in cells]
    store = ResultStore(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "runs" / f"{keys[0]}.json").write_bytes(b"")
    (tmp_path / "runs" / f"{keys[1]}.failed.json").write_text("{")
    store.checkpoint(keys[2]).write_bytes(np.random.default_rng(0).bytes(1000))
    (tmp_path / "runs" / f"{keys[3]}.json").write_text('{"format": 99, "identity": {}}')
    (tmp_path / "log.jsonl").write_bytes(b"\xff torn")
    with caplog.at_level(logging.WARNING):
        outcomes = list(serial.run(Runner(experiment, store), cells, Nobody()))
    assert [outcome.failure for outcome in outcomes] == [None] * 4
    assert [sum(key in record.getMessage() for record in caplog.records) for key in keys] == [1, 1, 1, 1]
    assert outcome_bits(tmp_path, keys[0]) == undisturbed
    assert event_names(tmp_path) == ["started", "finished"] * 4
