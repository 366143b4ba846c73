"""Fixtures that several test files share."""

import importlib
import json
import os
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastser_kernels.norm_relu import op as norm_relu
from filelock import FileLock
from hypothesis import settings
from processes import Command, Start, finish, small_grid, starter, tables, untested, wait_until_gone

from fastser.data.corpora.synthetic import generate

torch.set_num_threads(1)  # the tests' tensors are small: a second thread only waits

LONGEST = (
    "experiment/test_ray.py",
    "experiment/test_slurm.py",
    "docs/test_examples.py",
    "experiment/test_processes.py",
    "cli/test_reproduce.py",
    "recognition/test_onnx.py",
    "cli/test_runs.py",
    "training/test_loss.py",
)
"""Files that take longest. They are begun first, so that none of them runs alone at the end."""

settings.register_profile("bounded", derandomize=True, deadline=None, max_examples=50, database=None)
settings.register_profile("long", derandomize=False, deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile("bounded")  # `pytest --hypothesis-profile=long` searches with random seeds


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of `LONGEST` first. The others keep their order."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of its own for one test."""
    monkeypatch.setenv("FASTSER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A function that makes a file or folder in the first of pytest's processes that asks for it, by its name."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make: Callable[[Path], object]) -> Path:
        made = folder / name
        with FileLock(folder / f"{name}.lock"):
            if not made.exists():
                make(made)
        return made

    return once


@pytest.fixture(scope="session")
def stand_ins(made_once: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the smallest stand-in corpora and of their cache, for `small_runs.stand_in_experiment`.

    It is a copy, because some tests move the corpora away.
    """
    made = made_once("made-stand-ins", lambda folder: generate(folder, utterances_per_class=1))
    copy: Path = shutil.copytree(made, tmp_path_factory.mktemp("stand-ins"), dirs_exist_ok=True)
    return copy


@pytest.fixture(scope="session")
def start(stand_ins: Path) -> Start:
    """A function that starts the command with a cache that the session shares."""
    return starter(stand_ins / "cache")


@pytest.fixture
def command(stand_ins: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """A function that runs the command in this process, with the cache that the session shares."""
    from fastser.reproduce import main

    monkeypatch.setenv("FASTSER_CACHE", str(stand_ins / "cache"))

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fastser-reproduce", *untested(arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        printed = capsys.readouterr()
        return int(str(exit_.value.code)), printed.out, printed.err

    return run


@pytest.fixture(scope="session")
def grid(stand_ins: Path) -> list[str]:
    """Arguments of a grid of `processes.SMALL_RUNS` runs."""
    return small_grid(stand_ins)


@pytest.fixture(scope="session")
def serial(start: Start, grid: list[str], made_once: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tables that one process makes of the small grid. Every other executor must make the same."""

    def make(file: Path) -> None:
        out = tmp_path_factory.mktemp("serial")
        status, _, err = finish(start(*grid, "--executor=serial", "--out", out))
        assert (status, err) == (0, "")
        file.write_text(json.dumps(tables(out)), encoding="utf-8")

    made: dict[str, str] = json.loads(made_once("serial.json", make).read_text("utf-8"))
    return made


@pytest.fixture(scope="session")
def must_be_gone() -> Iterator[set[int]]:
    """Processes that no test may leave behind. Two agents of Ray need a minute to notice that its driver was killed."""
    pids: set[int] = set()
    yield pids
    wait_until_gone(pids)


@pytest.fixture
def own_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small maps on a CPU go to norm_relu too, not to the reference that is faster there."""
    monkeypatch.setattr(norm_relu, "SMALL", 0)


@pytest.fixture(scope="session")
def torchaudio_functional() -> Any:
    """torchaudio's Python code, also where its native library does not fit the installed torch."""
    try:
        return importlib.import_module("torchaudio.functional")
    except (ImportError, OSError, RuntimeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
    stub: Any = types.ModuleType("torchaudio._extension")
    stub._IS_TORCHAUDIO_EXT_AVAILABLE = False
    stub.fail_if_no_align = stub.fail_if_no_rnnt = lambda function: function
    sys.modules["torchaudio._extension"] = stub
    try:
        return importlib.import_module("torchaudio.functional")
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        pytest.skip(f"torchaudio does not load: {error}")
