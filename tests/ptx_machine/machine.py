"""The machine: decodes a PTX program once into steps over NumPy arrays, and runs a grid of blocks.

Many blocks run in lockstep. While all threads are at the same place there is no mask. Where they part, the threads at
the lowest place run first, so that they meet again behind the branch.
"""

from collections.abc import Iterator, Sequence
from itertools import islice, product

import numpy as np
import torch

from ptx_machine.accesses import ACCESSES
from ptx_machine.collective import COLLECTIVES
from ptx_machine.convert import CONVERSIONS
from ptx_machine.counts import Counts
from ptx_machine.floats import FLOATS
from ptx_machine.integers import INTEGERS
from ptx_machine.memory import GlobalMemory
from ptx_machine.program import Instruction, Program, parse
from ptx_machine.report import PtxError, RuleError
from ptx_machine.shared import SharedMemory
from ptx_machine.threads import WARP, Decoder, Registers, Step, Threads
from ptx_machine.values import UNSIGNED, Array, bits

DECODERS: dict[str, Decoder] = {**INTEGERS, **FLOATS, **CONVERSIONS, **ACCESSES, **COLLECTIVES}

LANES_AT_ONCE = 8192
"""Threads that run in lockstep: enough to hide the cost of a NumPy call, few enough for the caches."""

WAITING = 1 << 30
"""Place of a thread that waits at a barrier, plus the place behind the barrier."""
EXITED = 1 << 40

Place = int | Array
"""Basic block that the threads are at: one for all, or one for each thread."""


class Machine:
    """A compiled kernel. It can run any number of grids.

    Args:
        ptx: Text of the kernel.
        shared: Bytes of shared memory of a block.

    Raises:
        NotImplementedError: If the text holds an instruction that the machine does not know.
    """

    def __init__(self, ptx: str, shared: int) -> None:
        self.program: Program = parse(ptx)
        self.shared = shared
        self.registers = Registers(self.program)
        self.steps = [[self._decode(i) for i in block if not i.ends_block()] for block in self.program.blocks]
        self.exits = [block[-1] if block and block[-1].ends_block() else None for block in self.program.blocks]
        widths = [
            bits(i.kind) // 8 for i in self.program.instructions() if i.name in ("ld", "st") and "shared" in i.opcode
        ]
        self.cell = min([4, *widths])

    def run(
        self,
        grid: tuple[int, ...],
        arguments: Sequence[torch.Tensor | int | float],
        counts: Counts | None = None,
    ) -> None:
        """Run all blocks of a grid; the arguments are those of the PTX parameters, in order.

        Args:
            grid: Number of blocks along up to three axes.
            arguments: Tensors and numbers; missing ones at the end are null pointers.
            counts: Counts to add to.

        Raises:
            PtxError: If a thread breaks a rule.
        """
        x, y, z = (*grid, 1, 1)[:3]
        memory = GlobalMemory(counts)
        parameters = self._parameters(arguments, memory)
        blocks = ((i, j, k) for k, j, i in product(range(z), range(y), range(x)))
        at_once = max(LANES_AT_ONCE // self.program.threads, 1)
        with np.errstate(all="ignore"):
            while chunk := list(islice(blocks, at_once)):
                shared = SharedMemory(len(chunk), self.program.threads, self.shared, self.cell, counts)
                threads = Threads(self.registers, chunk, (x, y, z), parameters, memory, shared)
                if counts is not None:
                    counts.start(threads.rows, threads.count)
                _Run(self, threads, chunk, counts).finish()

    def _parameters(self, arguments: Sequence[torch.Tensor | int | float], memory: GlobalMemory) -> dict[str, Array]:
        values: dict[str, Array] = {}
        missing = len(self.program.parameters) - len(arguments)
        for (name, kind), argument in zip(self.program.parameters.items(), [*arguments, *[0] * missing], strict=True):
            if isinstance(argument, torch.Tensor):
                argument = memory.address(argument)
            if kind.startswith("f"):
                dtype = {"f32": np.float32, "f64": np.float64}[kind]
                values[name] = np.array([[argument]], dtype).view(UNSIGNED[bits(kind)])
            else:
                width = bits(kind)
                values[name] = np.array([[int(argument) % (1 << width)]], np.uint64).astype(UNSIGNED[width])
        return values

    def _decode(self, instruction: Instruction) -> Step:
        """Return the step of an instruction that stays in its basic block."""
        try:
            step = DECODERS[instruction.name](instruction, self.registers)
        except (NotImplementedError, KeyError, ValueError, IndexError) as error:
            raise NotImplementedError(
                f"{self.program.name}, PTX line {instruction.line}: unknown opcode {instruction.opcode} "
                f"{', '.join(instruction.operands)} ({error}): add it to the machine"
            ) from error
        if not instruction.guard:
            return step
        negated, place = self.guard(instruction)

        def guarded(threads: Threads) -> None:
            outer = threads.mask
            mask = ~threads.values[place] if negated else threads.values[place]
            mask = mask if outer is None else mask & outer
            if mask.any():
                threads.mask = None if mask.all() else mask
                try:
                    step(threads)
                finally:
                    threads.mask = outer

        return guarded

    def guard(self, instruction: Instruction) -> tuple[bool, int]:
        """Return whether the guard of an instruction is negated, and the place of its predicate."""
        return instruction.guard.startswith("!"), self.registers.source(instruction.guard.lstrip("!"), 1)


class _Run:
    """Some blocks on their way through a program."""

    def __init__(
        self, machine: Machine, threads: Threads, blocks: Sequence[tuple[int, int, int]], counts: Counts | None
    ) -> None:
        self.machine, self.threads, self.blocks, self.counts = machine, threads, blocks, counts
        self.place: Place = 0
        self.barriers = np.zeros((threads.rows, threads.count), np.int64)

    def finish(self) -> None:
        """Run until every thread has exited."""
        while (at := self._next()) < EXITED:
            instructions = self.machine.program.blocks[at]
            done = 0
            try:
                for step in self.machine.steps[at]:
                    step(self.threads)
                    done += 1
                if self.counts is not None:
                    self._count(instructions)
                self._leave(at, self.machine.exits[at])
            except Exception as error:
                self._report(instructions[min(done, len(instructions) - 1)], error)

    def _next(self) -> int:
        """Return the basic block to run and set the mask of the threads that are there."""
        if isinstance(self.place, int):
            self.threads.mask = None
            return self.place
        at = int(self.place.min())
        if WAITING <= at < EXITED:
            row, thread = divmod(int(self.place.argmin()), self.threads.count)
            instruction = self.machine.program.blocks[at - WAITING - 1][-1]
            self._report(instruction, RuleError("the other threads of the block never reach this barrier", row, thread))
        mask = self.place == at
        self.threads.mask = None if mask.all() else mask
        return at

    def _leave(self, at: int, end: Instruction | None) -> None:
        """Move the threads that run to their next basic block."""
        if end is None:
            return self._move(at + 1)
        if end.name in ("ret", "exit"):
            return self._move(self._chosen(end, EXITED, at + 1))
        if end.name == "bra":
            return self._move(self._chosen(end, self.machine.program.labels[end.operands[0]], at + 1))
        return self._arrive(end, at + 1)

    def _chosen(self, end: Instruction, target: int, otherwise: int) -> Place:
        """Return the target where the guard of a jump holds."""
        if not end.guard:
            return target
        negated, place = self.machine.guard(end)
        taken = self.threads.values[place] ^ negated
        mask = self.threads.mask
        if not (taken if mask is None else taken & mask).any():
            return otherwise
        if (taken if mask is None else taken | ~mask).all():
            return target
        return np.where(taken, target, otherwise)

    def _move(self, place: Place) -> None:
        if self.threads.mask is not None:
            place = np.where(self.threads.mask, place, self.place)
        if isinstance(place, np.ndarray):
            if (place == place.flat[0]).all():
                place = int(place.flat[0])
            else:
                place = np.broadcast_to(place, (self.threads.rows, self.threads.count))
        self.place = place

    def _arrive(self, end: Instruction, behind: int) -> None:
        """Let the threads that run wait at a barrier of their block, and go on where all have arrived."""
        number, *expected = (int(operand, 0) for operand in end.operands)
        count = expected[0] if expected else self.threads.count
        if end.guard:
            raise NotImplementedError("a barrier with a guard")
        if self.threads.mask is None and count == self.threads.count:
            self.threads.shared.order.barrier(None)
            return self._move(behind)
        self.threads.check_whole_warps()
        self._move(WAITING + behind)
        place = np.broadcast_to(self.place, (self.threads.rows, self.threads.count)).copy()
        here = place == WAITING + behind
        self.barriers[here] = number
        waiting = (place >= WAITING) & (place < EXITED) & (self.barriers == number)
        complete = waiting.sum(1) == count
        place[waiting & complete[:, None]] -= WAITING
        if complete.any():
            self.threads.shared.order.expand(self.threads.rows)
            self.threads.shared.order.barrier(complete.nonzero()[0])
        self.threads.mask = None
        return self._move(place)

    def _count(self, instructions: tuple[Instruction, ...]) -> None:
        assert self.counts is not None
        shape = (self.threads.rows, self.threads.count)
        running = np.broadcast_to(np.True_ if self.threads.mask is None else self.threads.mask, shape)
        warps = int(running.reshape(len(running), -1, WARP).any(2).sum())
        for instruction in instructions:
            self.counts.instructions[instruction.opcode] += warps

    def _report(self, instruction: Instruction, error: Exception) -> None:
        """Raise the error with its place."""
        name = self.machine.program.name
        source = f" ({instruction.source})" if instruction.source else ""
        where = f"{name}, PTX line {instruction.line}{source}: {instruction.opcode} {', '.join(instruction.operands)}"
        if isinstance(error, RuleError):
            thread = "" if error.row is None else f" by thread {error.thread} of block {self.blocks[error.row]}"
            raise PtxError(f"{where}{thread}: {error.rule}") from error
        if unwritten := next(self._unwritten(instruction), None):
            raise PtxError(f"{where}: register {unwritten} is read before it is written") from error
        raise PtxError(f"{where}: {type(error).__name__}: {error}") from error

    def _unwritten(self, instruction: Instruction) -> Iterator[str]:
        for (name, _), place in self.machine.registers.places.items():
            if self.threads.values[place] is None and any(name in _names(text) for text in instruction.operands[1:]):
                yield name


def _names(operand: str) -> list[str]:
    return operand.strip("{}[] ").replace("+", " ").replace(",", " ").split()
