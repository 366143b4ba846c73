"""The examples in docstrings run and print what they say."""

import doctest
import importlib
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
MODULES = [
    ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
    for folder in (ROOT, ROOT / "kernels")
    for path in sorted((folder / ("fastser" if folder == ROOT else "fastser_kernels")).rglob("*.py"))
    if ">>> " in path.read_text()
]
PUBLIC = {
    "fastser.attacks.bim",
    "fastser.attacks.pgd",
    "fastser.augmentation",
    "fastser.data.corpora.readers",
    "fastser.layers.dense",
    "fastser.layers.recurrent",
    "fastser.models",
    "fastser.runtime.random",
    "fastser.runtime.registry",
}


def test_public_modules_have_examples() -> None:
    assert set(MODULES) >= PUBLIC


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0
    assert results.failed == 0
