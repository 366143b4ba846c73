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
from itertools import accumulate
from pathlib import Path

import triton

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


def resource_usage(cubin: bytes) -> dict[str, int]:
    """Return registers, stack and local memory per thread, by the names of cuobjdump: REG, STACK, LOCAL, ..."""
    usage = _run("cuobjdump", "--dump-resource-usage", binary=cubin)
    return {name: int(value) for name, value in re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", usage)}


def disassemble(cubins: Sequence[bytes], architecture: str) -> list[str]:
    """Return the instructions of each kernel, one per line, for an architecture such as "SM90a"."""
    codes = [machine_code(cubin) for cubin in cubins]
    starts = list(accumulate(map(len, codes), initial=0))
    kernels: list[list[str]] = [[] for _ in codes]
    listing = _run("nvdisasm", "--binary", architecture, binary=b"".join(codes))
    for address, instruction in re.findall(r"^\s*/\*([0-9a-f]+)\*/(.*)$", listing, re.MULTILINE):
        kernels[bisect_right(starts, int(address, 16)) - 1].append(instruction)
    return ["\n".join(instructions) for instructions in kernels]


def machine_code(cubin: bytes) -> bytes:
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


def _run(tool: str, *options: str, binary: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        return subprocess.run([TOOLS / tool, *options, file.name], capture_output=True, text=True, check=True).stdout
