"""Fixtures of the tests of the command line."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Ended, Options, run_command, write_manifest

from fastser.data.corpora.synthetic import generate
from fastser.runtime.files import cache_at

EMOTIONS = ("angry", "happy", "neutral", "sad")


@pytest.fixture(autouse=True)
def shared_cache(stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the cache of the session, also in other threads and processes."""
    monkeypatch.setenv("FASTSER_CACHE", str(stand_ins / "cache"))


@pytest.fixture(scope="session")
def corpora(stand_ins: Path) -> Options:
    """Options that name the smallest stand-ins as corpora, at the quick scale."""
    made = generate(stand_ins, utterances_per_class=1)
    return {
        "source": f"iemocap={made.iemocap}",
        "target": f"msp-improv={made.msp_improv}",
        "noise": f"demand={made.demand}",
        "scale": "quick",
    }


@pytest.fixture(scope="session")
def everything(corpora: Options) -> Options:
    """Options of 20 runs that fill all tables and the figure."""
    return {**corpora, "everything": True, "models": "cnn,proposed", "augmentations": "none", "folds": 2}


@pytest.fixture(scope="session")
def finished(everything: Options, stand_ins: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """The results folder of a finished plan of all tables, which tests do not change, and the end of its command."""
    out = tmp_path_factory.mktemp("finished")
    with cache_at(stand_ins / "cache"):
        ended = run_command(**everything, out=out)
    assert (ended.status, ended.err) == (0, "")
    return out, ended


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A manifest of four speakers with two utterances of each of the paper's emotions."""
    return write_manifest(tmp_path / "corpus.csv", EMOTIONS)


@pytest.fixture
def signals_are_not_ignored() -> Iterator[None]:
    """Give SIGINT Python's handler. A shell lets programs in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
