"""Instructions of a whole warp: exchanges between lanes, matrices from shared memory, and matrix products."""

import numpy as np

from ptx_machine.program import Instruction
from ptx_machine.report import RuleError
from ptx_machine.threads import WARP, Decoder, Registers, Step, Threads
from ptx_machine.values import TO_FLOAT, Array

LANES = np.arange(WARP)


def shuffle(instruction: Instruction, registers: Registers) -> Step:
    """Decode `shfl.sync`: each lane reads a register of another lane, or its own where that lies outside."""
    _, mode, kind = instruction.modifiers
    if mode not in ("idx", "bfly", "up", "down") or kind != "b32":
        raise NotImplementedError(instruction.opcode)
    names, *operands = instruction.operands
    targets = [registers.target(name) for name in names.split("|")]
    source, lane, clamp, members = (registers.source(text, 32) for text in operands)

    def step(threads: Threads) -> None:
        _check_members(threads, members)
        value = threads.values[source]
        b, c = (_by_lane(threads.values[place]).astype(np.int64) for place in (lane, clamp))
        segment = c >> 8 & 31
        last = (LANES & segment) | (c & 31 & ~segment)
        read = {"idx": (LANES & segment) | (b & 31 & ~segment), "bfly": LANES ^ b, "up": LANES - b, "down": LANES + b}[
            mode
        ]
        inside = read >= last if mode == "up" else read <= last
        read = np.where(inside, read, LANES)
        if value.shape[1] > 1:
            by_lane = _by_lane(value)
            if read.shape[:2] == (1, 1):
                value = by_lane[:, :, read[0, 0]]
            else:
                value = np.take_along_axis(
                    by_lane, np.broadcast_to(read, np.broadcast_shapes(by_lane.shape, read.shape)), 2
                )
            value = value.reshape(len(value), -1)
        threads.write(targets[0], value)
        for target in targets[1:]:
            threads.write(target, threads.flat(np.broadcast_to(inside, (threads.rows, threads.count // WARP, WARP))))

    return step


def _by_lane(value: Array) -> Array:
    """Return a register by blocks, warps and lanes, each axis of length 1 where all its values are equal."""
    return value[:, :, None] if value.shape[1] == 1 else value.reshape(len(value), -1, WARP)


def _check_members(threads: Threads, members: int) -> None:
    threads.check_whole_warps()
    if (threads.values[members] != np.uint32(0xFFFFFFFF)).any():
        raise RuleError("only instructions of all lanes of a warp are implemented (member mask -1)")


def load_matrices(instruction: Instruction, registers: Registers) -> Step:
    """Decode `ldmatrix`: 8x8 matrices of 16-bit values, whose rows lie at the addresses of eight lanes each."""
    rules = [rule for rule in instruction.modifiers if rule not in ("sync", "aligned", "shared", "shared__cta")]
    transposed = "trans" in rules
    if rules[0] != "m8n8" or rules[-1] != "b16" or set(rules[2:-1]) - {"trans"}:
        raise NotImplementedError(instruction.opcode)
    count = int(rules[1].removeprefix("x"))
    targets = [registers.target(name) for name in instruction.operands[0].strip("{} ").replace(" ", "").split(",")]
    place, offset = registers.address(instruction.operands[1])

    def first_lanes(value: Array, threads: Threads) -> Array:
        by_lane = np.broadcast_to(value, (len(value), threads.count)).reshape(len(value), -1, WARP)
        return by_lane[:, :, : 8 * count].reshape(len(value), -1)

    def step(threads: Threads) -> None:
        threads.check_whole_warps()
        address = threads.values[place]
        rows = first_lanes(address, threads) + address.dtype.type(offset)
        mask = None if threads.mask is None else first_lanes(threads.mask, threads)
        first = np.repeat(np.arange(threads.count // WARP) * WARP, 8 * count)
        lane = (np.arange(rows.shape[1]) % 8)[:, None] * 4 + np.arange(4)
        matrices = threads.shared.read_rows(rows, mask, first[:, None] + lane)
        matrices = matrices.reshape(threads.rows, threads.count // WARP, count, 8, 4)
        if transposed:
            by_value = matrices.view(np.uint16).swapaxes(3, 4)
            matrices = np.ascontiguousarray(by_value).view(np.uint32)
        for i, target in enumerate(targets):
            threads.write(target, threads.flat(matrices[:, :, i]))

    return step


def multiply_matrices(instruction: Instruction, registers: Registers) -> Step:
    """Decode `mma` with 16 rows and 8 columns: a product of 16-bit or tf32 matrices, and a float32 sum.

    The lane `4 * g + q` holds row `g` (and `g + 8`) of the first factor, column `g` of the second one, and of both the
    elements at 32-bit place `q` (and `q + 4`) along the depth. It holds elements `2 * q` and `2 * q + 1` of rows `g`
    and `g + 8` of the sum.
    """
    rules = [rule for rule in instruction.modifiers if rule not in ("sync", "aligned", "row", "col")]
    shape, result, kind, other, added = rules
    depth = int(shape.removeprefix("m16n8k"))
    values = 1 if kind == "tf32" else 2
    if result != "f32" or added != "f32" or kind != other or kind not in ("tf32", "f16", "bf16"):
        raise NotImplementedError(instruction.opcode)
    lists = [operand.strip("{} ").replace(" ", "").split(",") for operand in instruction.operands]
    targets = [registers.target(name) for name in lists[0]]
    a, b, c = ([registers.source(name, 32) for name in names] for names in lists[1:])
    words = depth // values
    if (len(a), len(b)) != (words // 2, words // 4):
        raise NotImplementedError(f"operands of {instruction.opcode}")

    def numbers(raw: Array) -> Array:
        if kind == "tf32":
            return (raw & np.uint32(0xFFFFE000)).view(np.float32)
        return TO_FLOAT[kind](raw.view(np.uint16))

    def step(threads: Threads) -> None:
        threads.check_whole_warps()
        warps = threads.rows * threads.count // WARP
        first, second = np.empty((warps, 16, words), np.uint32), np.empty((warps, 8, words), np.uint32)
        for i, place in enumerate(a):
            rows, columns = slice(8 * (i % 2), 8 * (i % 2) + 8), slice(4 * (i // 2), 4 * (i // 2) + 4)
            first[:, rows, columns] = threads.warps(place).reshape(warps, 8, 4)
        for i, place in enumerate(b):
            second[:, :, 4 * i : 4 * i + 4] = threads.warps(place).reshape(warps, 8, 4)
        product = np.matmul(numbers(first), numbers(second).swapaxes(1, 2)).reshape(warps, 2, WARP, 2)
        for i, (target, place) in enumerate(zip(targets, c, strict=True)):
            part = threads.flat(product[:, i // 2, :, i % 2])
            threads.write(target, (part + threads.values[place].view(np.float32)).view(np.uint32))

    return step


def warp_barrier(instruction: Instruction, registers: Registers) -> Step:
    """Decode `bar.warp.sync`."""
    members = registers.source(instruction.operands[0], 32)

    def step(threads: Threads) -> None:
        _check_members(threads, members)
        active = None
        if threads.mask is not None:
            lanes = np.broadcast_to(threads.mask, (threads.rows, threads.count))
            active = lanes.reshape(threads.rows, -1, WARP).any(2)
            threads.shared.order.expand(threads.rows)
        threads.shared.order.warp_barrier(active)

    return step


def nothing(instruction: Instruction, registers: Registers) -> Step:
    """Decode a fence: the machine executes accesses in the order of the program."""
    return lambda threads: None


COLLECTIVES: dict[str, Decoder] = {
    "shfl": shuffle,
    "ldmatrix": load_matrices,
    "mma": multiply_matrices,
    "bar": warp_barrier,
    "membar": nothing,
    "fence": nothing,
}
"""Decoders of the instructions of whole warps, by name."""
