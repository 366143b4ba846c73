"""Digests of code that users bring along: every change of behaviour changes them, and nothing else does."""

import functools
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import fastser.models
from fastser.attacks import ATTACKS, FGSM
from fastser.evaluation.conditions import CONDITIONS, Unperturbed
from fastser.evaluation.metrics import METRICS
from fastser.models import MODELS
from fastser.runtime.code_digest import code_digest

Write = Callable[[dict[str, str]], ModuleType]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """A function that writes modules by name and imports the last one, as a new process would."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    written: set[str] = set()

    def forget() -> None:
        for name in written:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()

    def write_and_import(sources: dict[str, str]) -> ModuleType:
        forget()
        for name, source in sources.items():
            path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(source)
            written.update((name, name.partition(".")[0]))
        return importlib.import_module(name)

    yield write_and_import
    forget()


def executed(source: str, **names: object) -> dict[str, Any]:
    """Execute code that has no source file, as a notebook does."""
    namespace: dict[str, Any] = {"__name__": "a_notebook", **names}
    exec(source, namespace)
    return namespace


@pytest.mark.fast
def test_code_of_fastser_and_of_libraries_has_no_digest() -> None:
    own = [registry[name] for registry in (MODELS, ATTACKS, CONDITIONS, METRICS) for name in registry]
    assert [code_digest(item) for item in own] == [None] * len(own)
    assert code_digest(MODELS["proposed"].build, Unperturbed(), FGSM, fastser.models) is None
    assert code_digest(torch.nn.Linear, json.dumps, json, functools.partial(json.dumps, indent=1), len, 3, "x") is None
    assert code_digest() is None


BODY = """
def double(x, factor=2):
    return factor * x
"""


def test_a_digest_follows_the_body_of_a_function(write: Write) -> None:
    first = code_digest(write({"mine": BODY}).double)
    assert first is not None
    assert code_digest(write({"mine": BODY}).double) == first
    assert code_digest(write({"mine": BODY.replace("factor * x", "factor + x")}).double) != first
    assert code_digest(write({"mine": BODY.replace("factor=2", "factor=3")}).double) != first
    assert code_digest(write({"mine": f"def other(): ...\n{BODY}"}).double) != first


def test_comments_docstrings_and_layout_do_not_change_a_digest(write: Write) -> None:
    plain = 'class Own:\n    size = 3\n\n    def get(self):\n        return (self.size, "text")\n'
    commented = (
        '"""Module."""\n# comment\nclass Own:\n    """Class."""\n\n    size = 3  # three\n\n    def get(self):\n'
        '        """Method."""\n        return (\n            self.size,\n            "text",\n        )\n'
    )
    assert code_digest(write({"mine": plain}).Own) == code_digest(write({"mine": commented}).Own)
    assert code_digest(write({"mine": plain}).Own) != code_digest(write({"mine": plain.replace("text", "word")}).Own)


@pytest.mark.parametrize(
    "imports",
    [
        "import helper\n\ndef use(): return helper.CONSTANT\n",
        "import helper as h\n\ndef use(): return h.CONSTANT\n",
        "from helper import function\n\ndef use(): return function()\n",
        "from helper import CONSTANT\n\ndef use(): return CONSTANT\n",
        "def use():\n    from helper import CONSTANT\n    return CONSTANT\n",
    ],
)
def test_a_digest_follows_the_modules_that_are_imported(write: Write, imports: str) -> None:
    helper = "CONSTANT = 1\n\ndef function(): return CONSTANT\n"

    def digest_with(source: str) -> str | None:
        module = write({"helper": source, "mine": imports})
        module.use()
        return code_digest(module.use)

    first = digest_with(helper)
    assert digest_with(helper) == first
    assert digest_with(helper.replace("= 1", "= 2")) != first


@pytest.mark.parametrize("imports", ["from . import deep", "from .deep import CONSTANT", "import package.deep"])
def test_a_digest_follows_modules_of_the_same_package_and_their_imports(write: Write, imports: str) -> None:
    def digest_with(value: int) -> str | None:
        sources = {
            "package.__init__": "",
            "package.deepest": f"CONSTANT = {value}\n",
            "package.deep": "from package.deepest import CONSTANT\n",
            "package.mine": f"{imports}\n\ndef use(): ...\n",
        }
        return code_digest(write(sources).use)

    assert digest_with(1) == digest_with(1)
    assert digest_with(1) != digest_with(2)


def test_a_digest_follows_the_values_of_a_closure(write: Write) -> None:
    module = write({"mine": "def scaled(by):\n    def scale(x):\n        return by * x\n    return scale\n"})
    digests = {code_digest(module.scaled(by)) for by in (1, 2, "1", [1, 2], [2, 1], {"a": 1}, {"b": 1}, {"a": 2})}
    assert len(digests) == 8
    assert code_digest(module.scaled([1, {"a": 2}])) == code_digest(module.scaled([1, {"a": 2}]))


def test_a_digest_follows_the_arguments_of_a_partial_function(write: Write) -> None:
    double = write({"mine": BODY}).double
    partials = [
        functools.partial(double),
        functools.partial(double, 1),
        functools.partial(double, 1, 2),
        functools.partial(double, 2, 1),
        functools.partial(double, x=1),
        functools.partial(double, factor=1),
    ]
    assert len({code_digest(partial) for partial in partials}) == len(partials)
    assert code_digest(functools.partial(double, factor=1)) == code_digest(functools.partial(double, factor=1))


@dataclass(frozen=True)
class WithFields:
    """An instance with plain fields."""

    size: int
    name: str = "a"


@dataclass(frozen=True, slots=True)
class WithSlots:
    """An instance that has slots instead of a dictionary, and a function."""

    size: int
    of: Callable[[int], int] = abs


def test_a_digest_follows_the_fields_of_an_instance(write: Write) -> None:
    assert code_digest(WithFields(1)) == code_digest(WithFields(1))
    assert len({code_digest(item) for item in (WithFields(1), WithFields(2), WithFields(1, "b"))}) == 3
    assert len({code_digest(item) for item in (WithSlots(1), WithSlots(2), WithSlots(1, lambda x: x))}) == 3


def test_a_digest_follows_a_method_and_its_instance(write: Write) -> None:
    source = "class Own:\n    def __init__(self, size): self.size = size\n\n    def get(self): return self.size\n"
    module = write({"mine": source})
    assert code_digest(module.Own(1).get) != code_digest(module.Own(2).get)
    assert code_digest(module.Own(1).get) == code_digest(module.Own(1).get)


def test_a_function_of_fastser_does_not_hide_the_foreign_function_in_its_closure(write: Write) -> None:
    first = code_digest(fastser.models._he_normal(write({"mine": BODY}).double))
    assert first is not None
    assert code_digest(fastser.models._he_normal(write({"mine": BODY.replace("*", "+")}).double)) != first


@pytest.mark.fast
@pytest.mark.parametrize(
    ("source", "old", "new"),
    [
        ("def own(x): return x + 1", "1", "2"),
        ("def own(x): return x + 1", "+", "-"),
        ("def own(x, by=1): return x", "1", "2"),
        ("def own(x, *, by=1): return x", "1", "2"),
        ("def own(x): return x.real", "real", "imag"),
        ("def own(x): return x in {'a', 'b'}", "'a'", "'c'"),
        ("def own(x):\n    def inner(): return 1\n    return inner", "1", "2"),
        ("def other(): return 1\ndef own(x): return other()", "1", "2"),
        ("def other(): return 1\ndef own(x):\n    def inner(): return other()\n    return inner", "1", "2"),
        ("size = 1\ndef own(x): return size", "1", "2"),
        ("def make(by):\n    return lambda x: by\nown = make(1)", "1", "2"),
        ("class own:\n    size = 1", "1", "2"),
        ("class own:\n    def get(self): return 1", "1", "2"),
        ("class own:\n    @staticmethod\n    def get(): return 1", "1", "2"),
        ("class own:\n    @property\n    def get(self): return 1", "1", "2"),
        ("class base:\n    def get(self): return 1\nclass own(base):\n    def put(self): ...", "1", "2"),
    ],
)
def test_code_without_a_source_file_has_a_digest_that_follows_it(source: str, old: str, new: str) -> None:
    first = code_digest(executed(source)["own"])
    assert first is not None
    assert code_digest(executed(source)["own"]) == first
    assert code_digest(executed(f"# comment\n\n{source}")["own"]) == first
    changed = source.replace(old, new)
    assert changed != source
    assert code_digest(executed(changed)["own"]) != first


def test_docstrings_of_code_without_a_source_file_do_not_change_a_digest() -> None:
    sources = [f'def own(x):\n    """{text}."""\n    return x + 1' for text in ("One", "Two")]
    assert code_digest(executed(sources[0])["own"]) == code_digest(executed(sources[1])["own"])


def test_a_digest_is_the_same_in_every_process(tmp_path: Path) -> None:
    """The order of sets and the addresses of objects differ between these processes."""
    (tmp_path / "helper.py").write_text("CONSTANT = {'a', 'b', 'c'}\n\ndef function(): return CONSTANT\n")
    (tmp_path / "mine.py").write_text("from helper import function\n\ndef use(by=1): return function()\n")
    notebook = "class own:\n    size = 1\n    def get(self, kind): return kind in {'a', 'b', 'c'}\n"
    script = (
        "import mine, functools\n"
        "from fastser.runtime.code_digest import code_digest\n"
        f"namespace = {{'__name__': 'a_notebook'}}\nexec({notebook!r}, namespace)\n"
        "print(code_digest(mine.use, functools.partial(mine.use, by=[{'a', 'b', 'c'}]), namespace['own']))\n"
    )

    def digest_in_a_process(hash_seed: str) -> str:
        environ = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environ, check=True)
        return found.stdout.strip()

    digests = {digest_in_a_process(seed) for seed in ("0", "1", "2")}
    assert len(digests) == 1
    assert digests != {"None"}
