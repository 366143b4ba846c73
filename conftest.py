"""Fixtures and options that tests and benchmarks share."""

import os
from pathlib import Path

import pytest

MAX_WORKERS = 8
"""Largest number of processes in which tests run. More would not be faster: the longest files decide."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run tests in several processes, and benchmarks in one, because parallel timings mean nothing.

    There is one process more than cores, because some tests wait for processes that they start.
    """
    times = config.getoption("benchmark_only") or any("benchmarks" in Path(arg).parts for arg in config.args)
    return 0 if times else min((os.cpu_count() or 1) + 1, MAX_WORKERS)


@pytest.fixture(scope="session")
def shared_corpora() -> Path:
    """Return the folder of real audio beside a development checkout, or skip the test if there is none."""
    folder = Path(__file__).parents[1] / "shared" / "corpora"
    if not folder.is_dir():
        pytest.skip("needs real audio in ../shared/corpora, which is missing")
    return folder
