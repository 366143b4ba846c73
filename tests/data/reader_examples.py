"""Parts of the property tests of readers: repeatable examples, names of files, and a folder for one example."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings

from fastser.data.corpora.files import is_hidden

repeatable = settings(derandomize=True, database=None, deadline=None, max_examples=40)
"""The same examples in every run."""

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12).filter(
    lambda name: name.strip(". ") and not is_hidden(name)
)
"""Names of files and folders. Hypothesis also draws texts from the code of loaded tests, such as "__MACOSX"."""


@contextmanager
def folder() -> Iterator[Path]:
    """Make a folder for one example."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name).resolve()


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
