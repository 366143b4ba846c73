"""Reading of the documents: code blocks, commands, links and names."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "kernels/README.md",
    ROOT / "docs/results/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/reference").glob("*.md")),
]


class Block(NamedTuple):
    """A fenced code block: its document, the number of its first line, its language and its text."""

    document: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(document: Path) -> Iterator[Block]:
    """Yield the fenced code blocks of a document."""
    text = document.read_text()
    for match in re.finditer(r"^```([\w{}-]*)\n(.*?)^```$", text, re.M | re.S):
        yield Block(document, text[: match.start(2)].count("\n") + 1, match[1], match[2])


def commands(document: Path) -> list[str]:
    """Return the commands `python -m fastser...` in code blocks and inline code, each without what `&&` joins to it."""
    text = document.read_text()
    inline = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))
    texts = [block.text.replace("\\\n", " ") for block in blocks(document) if block.language != "python"]
    lines = [line for text in texts for line in _typed(text)]
    parts = [part.strip() for code in (*inline, *lines) for part in code.replace("\n", " ").split("&&")]
    return [part for part in parts if part.startswith("python -m fastser")]


def _typed(text: str) -> list[str]:
    """Return the lines of a block that a user types: those with a prompt, or all if none has one."""
    lines = text.splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")] or lines


def arguments(command: str) -> list[str]:
    """Return the arguments of a command, without the dots that stand for further arguments."""
    return [word for word in shlex.split(command, comments=True)[3:] if word != "..."]


def run_and_check_shapes(block: Block, namespace: dict[str, Any]) -> int:
    """Run a block statement by statement, and compare tensors with the shapes in the comments behind them.

    Returns:
        Number of compared shapes.
    """
    compared = 0
    lines = block.text.splitlines()
    for statement in ast.parse(block.text).body:
        module = ast.Module([statement], type_ignores=[])
        exec(compile(ast.increment_lineno(module, block.line - 1), str(block.document), "exec"), namespace)
        comment = lines[statement.end_lineno - block.line].partition("#")[2]
        shape = re.search(r"\[(\d+(?:, \d+)*)\]", comment)
        if shape and isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            value = namespace[statement.targets[0].id]
            assert isinstance(value, torch.Tensor), f"{block.name}: {comment}"
            assert list(value.shape) == [int(size) for size in shape[1].split(",")], f"{block.name}: {comment}"
            compared += 1
    return compared
