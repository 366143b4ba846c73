"""Results folders on a disk that is full, and results folders with unusable files."""

import logging
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from processes import Command, tables
from small_runs import SMALL, SilentListener, event_names, stand_in_experiment

from fastser.experiment.executors.runner import Runner
from fastser.experiment.executors.serial import run_serially
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.experiment.results_folder import ResultsError
from fastser.experiment.store import ResultStore

CNN, LSTM = (GridPoint("target", model, "none", "F01", 1) for model in ("cnn", "cnn-lstm"))


@pytest.fixture(scope="module")
def experiment(stand_ins: Path) -> Experiment:
    return stand_in_experiment(stand_ins, SMALL.override(["training.batch_size=32"]))


def bits_of(out: Path, key: str) -> tuple[object, list[bytes]]:
    """Return the metadata without times, and the posteriors, of a run."""
    store = ResultStore(out)
    metadata = {name: value for name, value in store.load(key).metadata.items() if not name.endswith("_seconds")}
    return metadata, [result.posteriors.tobytes() for result in store.posteriors(key).values()]


@pytest.fixture(scope="module")
def undisturbed(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, list[bytes]]:
    out = tmp_path_factory.mktemp("undisturbed")
    Runner(experiment, ResultStore(out)).run(CNN, SilentListener())
    return bits_of(out, experiment.identify(CNN).key)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Limit the size of every file that this process writes."""
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
        (20_000, ".safetensors", {"keep_models": True}),
    ],
    ids=["log", "posteriors", "metadata", "checkpoint", "model"],
)
def test_a_file_that_cannot_be_written_completely_ends_the_grid_and_loses_nothing(
    experiment: Experiment,
    undisturbed: tuple[object, list[bytes]],
    tmp_path: Path,
    size: int,
    file: str,
    options: dict[str, object],
) -> None:
    key = experiment.identify(CNN).key
    runner = Runner(experiment, ResultStore(tmp_path), **options)  # type: ignore[arg-type]
    with files_of_at_most(size), pytest.raises(ResultsError, match=rf"{file} cannot be written: File too large"):
        list(run_serially(runner, [CNN, LSTM], SilentListener()))
    store = ResultStore(tmp_path)
    assert not store.finished(key)
    assert store.failure(key) is None
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".part", ".safetensors")]
    outcomes = list(run_serially(Runner(experiment, store), [CNN], SilentListener()))
    assert [outcome.failure for outcome in outcomes] == [None]
    assert bits_of(tmp_path, key) == undisturbed
    assert event_names(tmp_path)[-2:] == ["started", "finished"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """A file system of 32 KiB, and a function that mounts it anew with other options."""
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


def test_a_run_on_a_full_disk_ends_with_one_sentence_and_continues_when_there_is_space(
    small_disk: tuple[Path, Callable[[str], None]], command: Command, grid: list[str], tmp_path: Path
) -> None:
    disk, remount = small_disk
    runs = 3 * (2 + 2)  # a network and two yardsticks on two folds of source and target
    table1 = [
        "--table=1",
        "--executor=serial",
        *(argument for argument in grid if argument != "--all"),
        "--set=training.max_epochs=1",
    ]
    status, _, error = command(*table1, "--out", disk)
    assert status == 2
    assert error.count("\n") == 1
    assert error.startswith(f"error: {disk}/")
    assert "No space left on device" in error
    assert not list(disk.rglob("*.part"))
    before = {path.name: path.read_bytes() for path in (disk / "runs").glob("*.json")}
    assert 0 < len(before) < runs
    remount("size=10m")
    status, said, error = command(*table1, "--out", disk)
    assert (status, error) == (0, "")
    assert f"{len(before)} reused, {runs - len(before)} to do" in said
    assert all((disk / "runs" / name).read_bytes() == text for name, text in before.items())
    assert command(*table1, "--out", tmp_path / "elsewhere")[0] == 0
    assert tables(disk) == tables(tmp_path / "elsewhere")
    remount("ro")
    status, _, error = command(*table1, "--out", disk)
    assert (status, error) == (2, f"error: --out {disk} cannot be written: Read-only file system\n")


def test_each_unusable_file_gives_one_warning_and_its_run_is_done_again(
    experiment: Experiment,
    undisturbed: tuple[object, list[bytes]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    points = [replace(CNN, repeat=repeat) for repeat in (1, 2, 3, 4)]
    keys = [experiment.identify(point).key for point in points]
    store = ResultStore(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "runs" / f"{keys[0]}.json").write_bytes(b"")
    (tmp_path / "runs" / f"{keys[1]}.failed.json").write_text("{")
    store.checkpoint(keys[2]).write_bytes(np.random.default_rng(0).bytes(1000))
    (tmp_path / "runs" / f"{keys[3]}.json").write_text('{"format": 99, "identity": {}}')
    (tmp_path / "log.jsonl").write_bytes(b"\xff torn")
    with caplog.at_level(logging.WARNING):
        outcomes = list(run_serially(Runner(experiment, store), points, SilentListener()))
    assert [outcome.failure for outcome in outcomes] == [None] * 4
    assert [sum(key in record.getMessage() for record in caplog.records) for key in keys] == [1, 1, 1, 1]
    assert bits_of(tmp_path, keys[0]) == undisturbed
    assert event_names(tmp_path) == ["started", "finished"] * 4
