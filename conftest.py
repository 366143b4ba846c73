"""What tests and benchmarks share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_corpora() -> Path:
    """The folder of real audio beside a development checkout; what needs it skips where it is not."""
    folder = Path(__file__).parents[1] / "shared" / "corpora"
    if not folder.is_dir():
        pytest.skip("the real audio (../shared/corpora) is not on this machine")
    return folder
