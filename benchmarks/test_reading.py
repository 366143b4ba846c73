"""Benchmarks of reading two open corpora into packed segments, first from their files and then from the cache."""

from itertools import count
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastser.data.corpora import read_corpus
from fastser.data.dataset import prepare
from fastser.settings import PAPER


def read(shared_corpora: Path) -> int:
    """Read EMO-DB and RAVDESS into banks of paper-scale segments. Return the number of segments."""
    corpora = read_corpus("emodb", shared_corpora / "emodb"), read_corpus("ravdess", shared_corpora / "ravdess_speech")
    return sum(len(prepare(corpus, PAPER).bank.start) for corpus in corpora)


def test_first_read(
    benchmark: BenchmarkFixture, shared_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = count()

    def empty_cache() -> None:
        monkeypatch.setenv("FASTSER_CACHE", str(tmp_path / str(next(number))))

    assert benchmark.pedantic(read, (shared_corpora,), setup=empty_cache, rounds=3) > 1000


def test_second_read(
    benchmark: BenchmarkFixture, shared_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTSER_CACHE", str(tmp_path))
    read(shared_corpora)
    benchmark.pedantic(read, (shared_corpora,), rounds=5)
