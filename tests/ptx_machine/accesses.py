"""Loads, stores and asynchronous copies."""

import numpy as np

from ptx_machine.program import Instruction
from ptx_machine.report import RuleError
from ptx_machine.threads import Decoder, Registers, Step, Threads
from ptx_machine.values import Array, as_integer, bits, extended, resized

SPACES = {"global": "global", "shared": "shared", "shared__cta": "shared", "param": "param"}
HINTS = ("nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "weak", "volatile", "relaxed", "gpu", "sys", "cta")
"""Modifiers that do not change what the threads of one kernel see."""


def _parts(instruction: Instruction) -> tuple[str, int, str]:
    """Return memory, length of the vector and type of a load or store."""
    space, count = "", 1
    for modifier in instruction.modifiers[:-1]:
        if modifier in SPACES:
            space = SPACES[modifier]
        elif modifier in ("v2", "v4", "v8"):
            count = int(modifier[1:])
        elif modifier not in HINTS and not modifier.startswith(("L1__", "L2__")):
            raise NotImplementedError(instruction.opcode)
    if not space:
        raise NotImplementedError(instruction.opcode)
    return space, count, instruction.kind


def _vector(text: str) -> list[str]:
    return text.strip("{} ").replace(" ", "").split(",")


def _moved(address: Array, offset: int) -> Array:
    return address + address.dtype.type(offset % (1 << (8 * address.dtype.itemsize))) if offset else address


def load(instruction: Instruction, registers: Registers) -> Step:
    """Decode `ld`."""
    space, count, kind = _parts(instruction)
    width = bits(kind)
    names = _vector(instruction.operands[0])
    if len(names) != count or len(instruction.operands) != 2:
        raise NotImplementedError(f"operands of {instruction.opcode}")
    targets = [(registers.target(name), registers.program.width(name) or width) for name in names]
    place, offset = registers.address(instruction.operands[1])

    def step(threads: Threads) -> None:
        address = threads.values[place]
        if space == "param":
            loaded = [address]
        else:
            memory = threads.memory if space == "global" else threads.shared
            loaded = memory.load(_moved(address, offset), threads.mask, width, count)
        for (target, own_width), value in zip(targets, loaded, strict=True):
            threads.write(target, extended(as_integer(value, kind), own_width))

    return step


def store(instruction: Instruction, registers: Registers) -> Step:
    """Decode `st`."""
    space, count, kind = _parts(instruction)
    width = bits(kind)
    place, offset = registers.address(instruction.operands[0])
    sources = [registers.source(name, width) for name in _vector(instruction.operands[1])]
    if len(sources) != count or len(instruction.operands) != 2 or space == "param":
        raise NotImplementedError(f"operands of {instruction.opcode}")

    def step(threads: Threads) -> None:
        address = _moved(threads.values[place], offset)
        values = [resized(threads.values[source], width) for source in sources]
        memory = threads.memory if space == "global" else threads.shared
        memory.store(address, threads.mask, values, width)

    return step


def copy(instruction: Instruction, registers: Registers) -> Step:
    """Decode `cp.async`: a copy from global to shared memory, its groups, and the wait for them."""
    _, *rules = instruction.modifiers
    if rules == ["commit_group"]:
        return lambda threads: threads.shared.order.commit(threads.mask)
    if rules == ["wait_group"]:
        pending = int(instruction.operands[0], 0)
        return lambda threads: threads.shared.order.wait(pending, threads.mask)
    if rules == ["wait_all"]:
        return lambda threads: threads.shared.order.wait(-1, threads.mask)
    if rules[0] not in ("ca", "cg") or rules[-1] != "global" or len(instruction.operands) not in (3, 4):
        raise NotImplementedError(instruction.opcode)
    (into, into_offset), (of, of_offset) = map(registers.address, instruction.operands[:2])
    size = int(instruction.operands[2], 0)
    given = registers.source(instruction.operands[3] if len(instruction.operands) == 4 else str(size), 32)

    def step(threads: Threads) -> None:
        amount, mask = threads.values[given], threads.mask
        partial = (amount != 0) & (amount != size)
        if (partial if mask is None else partial & mask).any():
            raise RuleError(
                f"cp.async of {size} bytes with a source of another size than 0 or {size} is not implemented"
            )
        reading = amount != 0
        lanes = reading if mask is None else reading & mask
        words = threads.memory.load(_moved(threads.values[of], of_offset), lanes, 32, size // 4)
        address = _moved(threads.values[into], into_offset)
        words = [np.where(reading, word, np.uint32(0)) for word in words]
        threads.shared.store(address, mask, words, 32, copied=True)

    return step


ACCESSES: dict[str, Decoder] = {"ld": load, "st": store, "cp": copy}
"""Decoders of accesses to memory, by name."""
