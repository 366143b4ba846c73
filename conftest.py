"""Fixtures that tests and benchmarks share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_corpora() -> Path:
    """Return the folder of real audio beside a development checkout, or skip the test if there is none."""
    folder = Path(__file__).parents[1] / "shared" / "corpora"
    if not folder.is_dir():
        pytest.skip("needs real audio in ../shared/corpora, which is missing")
    return folder
