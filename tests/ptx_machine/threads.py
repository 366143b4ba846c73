"""Registers of the threads of several blocks, which run in lockstep."""

from collections.abc import Callable, Sequence

import numpy as np

from ptx_machine.memory import GlobalMemory
from ptx_machine.program import Instruction, Program
from ptx_machine.report import RuleError
from ptx_machine.shared import SharedMemory
from ptx_machine.values import UNSIGNED, Array, constant

WARP = 32

AXES = ("x", "y", "z")

POISON = {
    np.dtype(UNSIGNED[width]): UNSIGNED[width](0xFFBADBADBADBADBA & ((1 << width) - 1)) for width in (8, 16, 32, 64)
}
"""Values of a register in the threads that have not written it. As numbers they are NaN."""


class Registers:
    """Places of the registers and constants of a program in a list of values."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.initial: list[Array | None] = []
        self.places: dict[tuple[str, int], int] = {}
        self.written: set[str] = set()

    def target(self, name: str) -> int:
        """Return the place of a register that an instruction writes; `_` is a place that nothing reads."""
        width = self.program.width(name)
        if not width and name != "_":
            raise NotImplementedError(f"target {name}")
        self.written.add(name)
        return self._place(name, width, None)

    def source(self, text: str, width: int) -> int:
        """Return the place of an operand: a register, a special register, a parameter, a symbol or an immediate."""
        if text.startswith("%") or self.program.width(text) or text in self.program.parameters:
            return self._place(text, self.program.width(text), None)
        if text in self.program.shared:
            return self._place(text, width, constant("0", width))
        return self._place(text, width, constant(text, width))

    def address(self, text: str) -> tuple[int, int]:
        """Return the place and the offset of an address such as `[%r1+16]`."""
        base, _, offset = text.strip("[] ").replace(" ", "").partition("+")
        return self.source(base, 32), int(offset or "0", 0)

    def undefined(self) -> dict[str, int]:
        """Return the widths of registers that no instruction writes: the compiler does not care for their value."""
        return {name: width for name, width in self.places if width > 1 and name not in self.written}

    def _place(self, name: str, width: int, value: Array | None) -> int:
        key = (name, width)
        if key not in self.places:
            self.places[key] = len(self.initial)
            self.initial.append(value)
        return self.places[key]


class Threads:
    """Registers and memories of the threads of some blocks. `mask` marks the threads that run, None means all."""

    def __init__(
        self,
        registers: Registers,
        blocks: Sequence[tuple[int, int, int]],
        grid: tuple[int, int, int],
        parameters: dict[str, Array],
        memory: GlobalMemory,
        shared: SharedMemory,
    ) -> None:
        self.rows, self.count = len(blocks), registers.program.threads
        self.memory, self.shared = memory, shared
        self.mask: Array | None = None
        self.values = list(registers.initial)
        thread = np.arange(self.count, dtype=np.uint32)[None, :]
        special = {"%tid.x": thread, "%laneid": thread % WARP, "%warpid": thread // WARP}
        special |= {"%ntid.x": np.array([[self.count]], np.uint32)}
        for axis, name in enumerate(AXES):
            special.setdefault(f"%tid.{name}", np.zeros((1, 1), np.uint32))
            special.setdefault(f"%ntid.{name}", np.ones((1, 1), np.uint32))
            numbers = np.array([[block[axis]] for block in blocks], np.uint32)
            special[f"%ctaid.{name}"] = numbers[:1] if (numbers == numbers[0]).all() else numbers
            special[f"%nctaid.{name}"] = np.array([[grid[axis]]], np.uint32)
        given = {name: POISON[np.dtype(UNSIGNED[width])].reshape(1, 1) for name, width in registers.undefined().items()}
        given |= parameters | special
        for (name, _), place in registers.places.items():
            if self.values[place] is None:
                self.values[place] = given.get(name)

    def write(self, place: int, value: Array) -> None:
        """Write a register in the threads that run."""
        if self.mask is not None:
            old = self.values[place]
            value = np.where(self.mask, value, POISON.get(value.dtype, False) if old is None else old)
        self.values[place] = value

    def warps(self, place: int) -> Array:
        """Return a register by blocks, warps and lanes."""
        value = self.values[place]
        if value.size < self.rows * self.count:
            value = np.broadcast_to(value, (self.rows, self.count))
        return value.reshape(self.rows, self.count // WARP, WARP)

    def flat(self, value: Array) -> Array:
        """Return values by blocks, warps and lanes as the values of a register."""
        return value.reshape(self.rows, self.count)

    def check_whole_warps(self) -> None:
        """Raise RuleError if an instruction of a whole warp runs in a part of its lanes."""
        if self.mask is None:
            return
        lanes = np.broadcast_to(self.mask, (self.rows, self.count)).reshape(self.rows, -1, WARP)
        partial = (lanes.any(2) != lanes.all(2)).nonzero()
        if partial[0].size:
            missing = int(np.argmin(lanes[partial[0][0], partial[1][0]]))
            thread = int(partial[1][0]) * WARP + missing
            raise RuleError(
                "the whole warp must run this instruction, and this thread does not", int(partial[0][0]), thread
            )


Step = Callable[[Threads], None]
"""One decoded instruction."""

Decoder = Callable[[Instruction, Registers], Step]


def computed(
    function: Callable[..., Array], kinds: Sequence[int], instruction: Instruction, registers: Registers
) -> Step:
    """Return the step that writes `function` of the operands, whose immediates have these widths."""
    target = registers.target(instruction.operands[0])
    if len(instruction.operands) != len(kinds) + 1:
        raise NotImplementedError(f"{len(instruction.operands)} operands of {instruction.opcode}")
    places = [registers.source(text, width) for text, width in zip(instruction.operands[1:], kinds, strict=True)]
    if len(places) == 1:
        (a,) = places
        return lambda threads: threads.write(target, function(threads.values[a]))
    if len(places) == 2:
        a, b = places
        return lambda threads: threads.write(target, function(threads.values[a], threads.values[b]))
    return lambda threads: threads.write(target, function(*[threads.values[place] for place in places]))
