"""Machine code of compiled NVIDIA kernels as text.

One start of nvdisasm takes 0.2 s, as long as the compilation of a small kernel. So the machine code of all kernels of
one architecture goes through it in one call.
"""

import re
import struct
import subprocess
import tempfile
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import triton

DISASSEMBLER = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "nvdisasm"


@dataclass(frozen=True)
class MachineCode:
    """The instructions of a kernel.

    Attributes:
        text: The instructions, one per line.
        instructions: Number of instructions, without the padding at the end.
        loops: Numbers of instructions of its loops, each from the target of a backward branch to the branch.
    """

    text: str
    instructions: int
    loops: tuple[int, ...]


def disassemble(cubins: Sequence[bytes], architecture: int) -> list[MachineCode]:
    """Return the machine code of kernels for an architecture such as 90."""
    codes = [_text_section(cubin) for cubin in cubins]
    starts = list(accumulate(map(len, codes), initial=0))
    kernels: list[list[tuple[int, str]]] = [[] for _ in codes]
    suffix = "a" if architecture >= 90 else ""
    for address, instruction in _listing(b"".join(codes), f"SM{architecture}{suffix}"):
        kernels[bisect_right(starts, address) - 1].append((address, instruction))
    return [machine_code(instructions) for instructions in kernels]


def machine_code(instructions: Sequence[tuple[int, str]]) -> MachineCode:
    """Return the code of one kernel, given its instructions with their addresses."""
    instructions = [(address, text) for address, text in instructions if not text.startswith("NOP")]
    place = {address: i for i, (address, _) in enumerate(instructions)}
    loops = []
    for i, (_, text) in enumerate(instructions):
        if branch := re.search(r"\bBRA\b.*?\b0x([0-9a-f]+)", text):
            first = place.get(int(branch.group(1), 16), i)
            if first < i:  # the code ends with a branch to itself
                loops.append(i - first + 1)
    return MachineCode("\n".join(text for _, text in instructions), len(instructions), tuple(loops))


def _listing(code: bytes, architecture: str) -> list[tuple[int, str]]:
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(code)
        file.flush()
        command = [DISASSEMBLER, "--binary", architecture, file.name]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^\s*/\*([0-9a-f]+)\*/\s*(.*)$", listing, re.MULTILINE)
    return [(int(address, 16), instruction) for address, instruction in lines]


def _text_section(cubin: bytes) -> bytes:
    """Return the one section ".text.KERNEL" of a cubin, which is a 64-bit ELF file."""
    (headers_at,) = struct.unpack_from("<Q", cubin, 0x28)
    header_bytes, number, names_index = struct.unpack_from("<HHH", cubin, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", cubin, headers_at + i * header_bytes) for i in range(number)]
    _, _, _, _, names_at, _ = headers[names_index]
    (code,) = (
        cubin[begin : begin + length]
        for name, _, _, _, begin, length in headers
        if cubin.startswith(b".text.", names_at + name)
    )
    return code
