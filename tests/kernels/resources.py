"""Resources of compiled kernels, read off their binaries."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from assembly_log import registers, serialised, stack_and_spills
from disassembly import MachineCode, disassemble
from issue_slots import per_element
from targets import Target


@dataclass(frozen=True)
class Binary:
    """One compiled kernel.

    Attributes:
        code: A cubin (NVIDIA) or assembly (AMD).
        shared: Bytes of shared memory.
        ttir: The kernel in Triton's first representation.
        ptxas_log: Messages of ptxas (NVIDIA).
        kernel: Name of the kernel.
        constants: Its constants.
        threads: Threads of a program.
        stages: Depth of the software pipeline of its loops.
    """

    code: bytes | str
    shared: int
    ttir: str
    ptxas_log: str
    kernel: str
    constants: dict[str, Any]
    threads: int
    stages: int


@dataclass(frozen=True)
class Footprint:
    """What a kernel asks of a chip, per thread (registers, stack and spills in bytes) or block (bytes of shared)."""

    registers: int
    stack: int
    spills: int
    shared: int


@dataclass(frozen=True)
class Resources(Footprint):
    """Footprint of a kernel, and counts of its instructions.

    The products of a program are its `tl.dot`s, as "rows x columns x depth of the tile, dtype of the operands". On
    NVIDIA they become instructions of a warp (HMMA) or of a group of four warps (HGMMA on sm_90, UTCMMA on sm_100), on
    AMD of a wavefront (MFMA). A chained product adds to the accumulator of the product before.

    Attributes:
        stages: Largest depth of the software pipeline of a loop.
        instructions: Number of all instructions (NVIDIA).
        loop_instructions: Number of those of the longest loop, or 0.
        slots: Instructions for each element of the maps (`issue_slots.per_element`).
        serialised: Whether each HGMMA waits for the one before.
    """

    wide_accesses: int
    products: str
    chained_products: int
    stages: int
    hmma: int
    hgmma: int
    utcmma: int
    mfma: int
    instructions: int
    loop_instructions: int
    slots: float | None
    serialised: bool


def read(binaries: Sequence[Binary], target: Target) -> Sequence[Footprint]:
    """Return the resources of all kernels that were compiled for one GPU, or their footprints for a partial target."""
    if target.chip.on_amd:
        return [_amd(binary) for binary in binaries]
    footprints = [Footprint(registers(b.ptxas_log), *stack_and_spills(b.ptxas_log), b.shared) for b in binaries]
    if not target.whole:
        return footprints
    codes = disassemble([bytes(binary.code) for binary in binaries], int(target.chip.architecture[3:]))
    return [_nvidia(*kernel) for kernel in zip(binaries, footprints, codes, strict=True)]


def _nvidia(binary: Binary, footprint: Footprint, code: MachineCode) -> Resources:
    def count(pattern: str) -> int:
        return len(re.findall(pattern, code.text))

    loop = max(code.loops, default=0)
    products, chained = _products(binary.ttir)
    return Resources(
        **vars(footprint),
        wide_accesses=count(r"\b(?:LDG|STG|LDGSTS)\.\S*128|\bUTMA(?:LDG|STG)"),
        products=products,
        chained_products=chained,
        stages=_stages(binary),
        hmma=count(r"\bHMMA\b"),
        hgmma=count(r"\bHGMMA\b"),
        utcmma=count(r"\bUTC\w*MMA\b"),
        mfma=0,
        instructions=code.instructions,
        loop_instructions=loop,
        slots=per_element(binary.kernel, binary.constants, binary.threads, loop),
        serialised=serialised(binary.ptxas_log),
    )


def _amd(binary: Binary) -> Resources:
    assembly = str(binary.code)

    def number(key: str) -> int:
        found = re.search(rf"\.{key}:\s*(\d+)", assembly)
        return int(found.group(1)) if found else 0

    products, chained = _products(binary.ttir)
    return Resources(
        registers=number("vgpr_count"),
        stack=number("private_segment_fixed_size"),
        spills=number("vgpr_spill_count"),  # scalar registers spill into vector registers, not into memory
        shared=binary.shared,
        wide_accesses=len(re.findall(r"\b(?:global|buffer)_(?:load|store)_(?:dwordx4|b128)", assembly)),
        products=products,
        chained_products=chained,
        stages=_stages(binary),
        hmma=0,
        hgmma=0,
        utcmma=0,
        mfma=len(re.findall(r"\bv_mfma_", assembly)),
        instructions=0,
        loop_instructions=0,
        slots=None,
        serialised=False,
    )


def _products(ttir: str) -> tuple[str, int]:
    """Return the products of a program as text, and the number of chained ones."""
    product = r"(%\w+) = tt\.dot [^,]+, [^,]+, (%[\w#]+).*: tensor<(\d+)x(\d+)x(\w+)> \* tensor<\d+x(\d+)x"
    found = re.findall(product, ttir)
    results = {result for result, *_ in found}
    chained = sum(accumulator in results for _, accumulator, *_ in found)
    return ", ".join(f"{m}x{n}x{k} {dtype}" for _, _, m, k, dtype, n in found), chained


def _stages(binary: Binary) -> int:
    """Return the largest depth of a pipeline: the option of the launch, or that of a loop."""
    return max([binary.stages, *map(int, re.findall(r"tt\.num_stages = (\d+)", binary.ttir))])
