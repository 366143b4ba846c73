"""Fixtures of the tests of the report."""

from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_up import EditPaper, context

from fastser.report import write_report
from fastser.report.published import published


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the report of a finished plan. Tests do not change it."""
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, context())
    return folder


@pytest.fixture
def edit_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EditPaper]:
    """Replace `paper.toml` by a changed copy until the test ends."""
    text = resources.files("fastser").joinpath("paper.toml").read_text("utf-8")

    def edit(change: Callable[[str], str]) -> None:
        changed = change(text)
        assert changed != text
        (tmp_path / "paper.toml").write_text(changed, encoding="utf-8")
        monkeypatch.setattr("fastser.report.published.resources", SimpleNamespace(files=lambda _: tmp_path))
        published.cache_clear()

    yield edit
    published.cache_clear()
