"""Parser of the PTX text that Triton emits: the parameters, registers and basic blocks of one kernel."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

WIDTHS = {"pred": 1, "b8": 8, "b16": 16, "b32": 32, "b64": 64}
JUMPS = ("bra", "ret", "exit", "bar.sync", "barrier.sync")
"""Opcodes that end a basic block: branches, exits and barriers of the whole block of threads."""

_LABEL = re.compile(r"^(\$?[\w$]+):$")
_REGISTERS = re.compile(r"^\.reg \.(\w+)\s+(.+)$")
_INSTRUCTION = re.compile(r"^(?:@(!?%?\w+)\s+)?([a-z][\w.:]*)\s*(.*)$", re.DOTALL)
_OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+")
_PARAMETER = re.compile(r"\.param \.(\w+)(?: \.ptr[\w. ]*?)? (\w+_param_\d+)")


@dataclass(frozen=True)
class Instruction:
    """One instruction, such as `@%p1 st.shared.b32 [%r1], %r2;`."""

    name: str  # "st"
    modifiers: tuple[str, ...]  # ("shared", "b32")
    operands: tuple[str, ...]
    guard: str  # "%p1", "!%p1" or ""
    line: int
    source: str  # "kernels.py:12:3" in the Triton source, or ""

    @property
    def opcode(self) -> str:
        """Return the full name, such as "st.shared.b32"."""
        return ".".join((self.name, *self.modifiers))

    @property
    def kind(self) -> str:
        """Return the last modifier: the type of the result or of the operands."""
        return self.modifiers[-1] if self.modifiers else ""

    def ends_block(self) -> bool:
        """Return whether a basic block ends after this instruction."""
        return self.opcode.startswith(JUMPS) and not self.opcode.startswith("bar.warp")


@dataclass(frozen=True)
class Program:
    """A kernel: parameters and their types, names of shared memory, widths of registers, and basic blocks."""

    name: str
    threads: int
    parameters: dict[str, str]
    shared: tuple[str, ...]
    widths: dict[str, int]
    blocks: tuple[tuple[Instruction, ...], ...]
    labels: dict[str, int]

    def width(self, register: str) -> int:
        """Return the bits of a register, 1 for a predicate, or 0 if there is no register of that name."""
        return self.widths.get(register) or self.widths.get(register.rstrip("0123456789") + "<>", 0)

    def instructions(self) -> Iterator[Instruction]:
        """Yield all instructions in their order."""
        for block in self.blocks:
            yield from block


def operands(text: str) -> tuple[str, ...]:
    """Split the operands of an instruction at the commas outside of braces and brackets."""
    return tuple(_OPERAND.findall(text))


def parse(ptx: str) -> Program:
    """Parse the text of one kernel.

    Raises:
        ValueError: If the text holds no kernel, or a line that is no instruction.
    """
    head = re.search(r"\.visible \.entry (\w+)\((.*?)\)(.*?)\n\{(.*?)\n\}", ptx, re.DOTALL)
    if head is None:
        raise ValueError("this PTX has no '.visible .entry'")
    name, parameters, directives, body = head.groups()
    threads = re.search(r"\.(?:req|max)ntid (\d+)", directives)
    if threads is None:
        raise ValueError(f"{name}: the PTX does not tell the number of threads with .reqntid")
    shared = tuple(re.findall(r"\.extern \.shared .*?(\w+)\[\]", ptx))
    targets = set(re.findall(r"\bbra(?:\.uni)?\s+([\w$]+)", body))
    widths: dict[str, int] = {}
    labels: dict[str, int] = {}
    blocks: list[list[Instruction]] = [[]]
    for line, source, statement in _statements(body, ptx[: head.start(4)].count("\n") + 1):
        if label := _LABEL.match(statement):
            if label.group(1) in targets:
                if blocks[-1]:
                    blocks.append([])
                labels[label.group(1)] = len(blocks) - 1
        elif registers := _REGISTERS.match(statement):
            for declared in re.split(r"[,\s]+", registers.group(2)):
                widths[re.sub(r"<\d+>", "<>", declared)] = _bits(registers.group(1))
        elif instruction := _INSTRUCTION.match(statement):
            guard, opcode, rest = instruction.groups()
            first, *modifiers = opcode.replace("::", "__").split(".")
            blocks[-1].append(Instruction(first, tuple(modifiers), operands(rest), guard or "", line, source))
            if blocks[-1][-1].ends_block():
                blocks.append([])
        else:
            raise ValueError(f"{name}, PTX line {line}: '{statement}' is no instruction")
    types = {parameter: kind for kind, parameter in _PARAMETER.findall(parameters)}
    return Program(name, int(threads.group(1)), types, shared, widths, tuple(map(tuple, blocks)), labels)


def _bits(kind: str) -> int:
    return WIDTHS.get(kind) or int(kind[1:])


def _statements(body: str, first_line: int) -> Iterator[tuple[int, str, str]]:
    """Yield line number, line of the Triton source, and text of every statement and label."""
    source, pending = "", ""
    for line, text in enumerate(body.split("\n"), first_line):
        code, _, comment = text.partition("//")
        code = code.strip()
        if code.startswith(".loc"):
            source = comment.split("@")[0].strip()
        elif _LABEL.match(code):
            yield line, source, code
        elif code not in ("", "{", "}") and not code.startswith(".pragma"):
            *complete, pending = f"{pending} {code}".split(";")
            for statement in complete:
                if statement.strip("{} \t"):
                    yield line, source, statement.strip()
