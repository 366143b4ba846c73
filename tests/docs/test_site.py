"""The site has every page of docs/, and every package of the reference is one that exists."""

import importlib
import re

import pytest
from snippets import ROOT

from fastser.recognition.packaged_models import packaged_models

pytestmark = pytest.mark.fast
DOCS = ROOT / "docs"


def test_every_page_is_in_the_table_of_contents() -> None:
    found = {DOCS / "index.md"}
    for page in (DOCS / "index.md", DOCS / "results/pages.md"):
        trees = re.findall(r"^```\{toctree\}\n(.*?)^```$", page.read_text(), re.M | re.S)
        entries = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
        for name in (re.sub(r".* <(.+)>$", r"\1", entry) for entry in entries):
            pages = {*(ROOT if name.startswith("/") else page.parent).glob(f"{name.lstrip('/')}.md")}
            assert pages, f"{page}: {name}"
            found |= pages
    assert found >= {*DOCS.rglob("*.md")}


def test_the_reference_has_the_public_modules_and_functions() -> None:
    text = "".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    modules = re.findall(r"automodule:: (\S+)", text)
    rooms = {"layers", "models", "attacks", "augmentation", "data"}
    assert {*modules} >= {f"fastser.{room}" for room in rooms} | {"fastser_kernels"}
    for name in modules:
        importlib.import_module(name)
    functions = re.findall(r"autofunction:: fastser\.(\w+)", text)
    assert {*functions} == {*importlib.import_module("fastser").__all__} - {"__version__"}


def test_the_notice_names_every_packaged_model() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    assert all(path.relative_to(ROOT).as_posix() in notice for path in packaged_models().values())
