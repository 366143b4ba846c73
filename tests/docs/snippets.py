"""Reading of the documents: code blocks, commands, links and names."""

import ast
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
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
    return _parts([*inline, *lines])


def shown_and_silent(document: Path) -> tuple[list[str], list[str]]:
    """Return the commands in code blocks whose output stands below them, and those without output.

    The output is in the block of the command, or in the next block if at most one paragraph stands between the two.
    The output that follows a block of several commands is that of the last one.
    """
    shown: list[str] = []
    silent: list[str] = []
    text = document.read_text()
    fences = list(re.finditer(r"^```([\w{}-]*)\n(.*?)^```$", text, re.M | re.S))
    for fence, following in pairwise([*fences, None]):
        if fence[1]:
            continue
        lines = fence[2].replace("\\\n", " ").splitlines()
        typed = [number for number, line in enumerate(lines) if line.startswith("$ ")] or list(range(len(lines)))
        for number in typed:
            followed = number + 1 < len(lines) and number + 1 not in typed
            if number + 1 == len(lines) and following and not following[1]:
                followed = _is_output(text[fence.end() : following.start()], following[2])
            (shown if followed else silent).extend(_parts([lines[number].removeprefix("$ ")]))
    return shown, silent


def _is_output(between: str, block: str) -> bool:
    """Return whether a block is the output of a command above it, given the text between the two."""
    paragraphs = between.split("\n\n")[1:-1]
    return len(paragraphs) < 2 and not between.strip().startswith(("#", "-", "|")) and not _parts(_typed(block))


def _parts(lines: list[str]) -> list[str]:
    """Return the commands in lines, which `&&` may join, without comments."""
    parts = [part.partition(" # ")[0].strip() for line in lines for part in line.replace("\n", " ").split("&&")]
    return [" ".join(part.split()) for part in parts if part.startswith("python -m fastser")]


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
