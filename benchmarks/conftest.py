"""What every benchmark shares: the real corpora, where they lie beside the checkout."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_corpora() -> Path:
    """The folder of real audio beside a development checkout; benchmarks that need it skip where it is not there."""
    folder = Path(__file__).parents[2] / "shared" / "corpora"
    if not folder.is_dir():
        pytest.skip("the real audio (../shared/corpora) is not on this machine")
    return folder
