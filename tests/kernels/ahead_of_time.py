"""Compile recorded launches for GPUs that are not in this machine, and read the resources off the binaries.

`python tests/kernels/ahead_of_time.py` compiles every launch and rewrites `resources.json`, with which
test_ahead_of_time.py compares. `python tests/kernels/ahead_of_time.py dense_block` compiles and prints one family.
"""

import importlib
import json
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from disassembly import disassemble, resource_usage
from fastser_kernels.launch import Launch, fp32_precision, launch_options, recorded
from launches import all_launches
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

RESOURCES = Path(__file__).with_name("resources.json")
TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
ARCHITECTURES = {"sm_80": "SM80", "sm_90": "SM90a", "sm_100": "SM100a"}
SHARED_LIMIT = {"sm_80": 163 * 1024, "sm_90": 227 * 1024, "sm_100": 227 * 1024, "gfx942": 64 * 1024}
_POINTER = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.int64: "*i64",
    torch.uint8: "*u8",
}


@dataclass(frozen=True)
class Resources:
    """Resources of one compiled kernel, per thread (registers, stack) or block (shared), and counts of instructions.

    The products of a program are its `tl.dot`s, as "rows x columns x depth of the tile, dtype of the operands". On
    NVIDIA they become instructions of a warp (HMMA) or of a group of four warps (HGMMA on sm_90, UTCMMA on sm_100), on
    AMD of a wavefront (MFMA).
    """

    registers: int
    stack: int
    spills: int
    shared: int
    wide_accesses: int
    products: str
    hmma: int
    hgmma: int
    utcmma: int
    mfma: int


@dataclass(frozen=True)
class Specialisation:
    """A kernel as Triton specialises it for one launch. It is picklable, and equal for equal binaries."""

    module: str
    kernel: str
    signature: tuple[tuple[str, str], ...]
    constexprs: tuple[tuple[str, Any], ...]
    divisible: tuple[int, ...]
    num_warps: int
    num_stages: int


def specialise(launch: Launch) -> Specialisation:
    """Return types, constants and divisibility of the arguments of a launch, by Triton's rules."""
    signature: dict[str, str] = {}
    constexprs: dict[str, Any] = {}
    divisible = []
    for place, parameter in enumerate(launch.kernel.params):
        value, name = launch.arguments[parameter.name], parameter.name
        if isinstance(value, torch.Tensor):
            signature[name] = _POINTER[value.dtype]
            if value.storage_offset() * value.element_size() % 16 == 0:
                divisible.append(place)
        elif parameter.is_constexpr or value is None or (_is_one(value) and not parameter.do_not_specialize):
            signature[name] = "constexpr"
            constexprs[name] = value
        elif isinstance(value, int):
            signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            aligned = not (parameter.do_not_specialize or parameter.do_not_specialize_on_alignment)
            if value % 16 == 0 and aligned:
                divisible.append(place)
        else:
            signature[name] = "fp32"
    kernel = launch.kernel.fn
    items = tuple(signature.items()), tuple(constexprs.items()), tuple(divisible)
    return Specialisation(kernel.__module__, kernel.__name__, *items, launch.num_warps, launch.num_stages)


def _is_one(value: Any) -> bool:
    return isinstance(value, int) and value == 1


@dataclass(frozen=True)
class Binary:
    """One compiled kernel: a cubin (NVIDIA) or assembly (AMD), bytes of shared memory, and its products."""

    code: bytes | str
    shared: int
    products: str


def compile_for(specialisation: Specialisation, target: str) -> Binary:
    """Compile for one GPU.

    Raises:
        triton.CompilationError: Or another exception of the compiler, if the kernel does not compile.
    """
    kernel = getattr(importlib.import_module(specialisation.module), specialisation.kernel)
    on_amd = target.startswith("gfx")
    constexprs = dict(specialisation.constexprs)
    if "PRECISION" in constexprs:
        constexprs["PRECISION"] = fp32_precision(on_amd)
    options = launch_options(specialisation.num_warps, specialisation.num_stages, on_amd)
    source = ASTSource(
        fn=kernel,
        signature=dict(specialisation.signature),
        constexprs=constexprs,
        attrs={(place,): [["tt.divisibility", 16]] for place in specialisation.divisible},
    )
    compiled = triton.compile(source, target=TARGETS[target], options=options)
    product = r"tt\.dot .*: tensor<(\d+)x(\d+)x(\w+)> \* tensor<\d+x(\d+)x"
    products = ", ".join(f"{m}x{n}x{k} {dtype}" for m, k, dtype, n in re.findall(product, compiled.asm["ttir"]))
    return Binary(compiled.asm["amdgcn" if on_amd else "cubin"], compiled.metadata.shared, products)


def read_resources(binaries: Sequence[Binary], target: str) -> list[Resources]:
    """Return the resources of all kernels that were compiled for one GPU."""
    if target.startswith("gfx"):
        return [_amd_resources(binary, str(binary.code)) for binary in binaries]
    cubins = [bytes(binary.code) for binary in binaries]
    codes = disassemble(cubins, ARCHITECTURES[target])
    return [_nvidia_resources(*kernel) for kernel in zip(binaries, map(resource_usage, cubins), codes, strict=True)]


def _amd_resources(binary: Binary, assembly: str) -> Resources:
    def number(key: str) -> int:
        found = re.search(rf"\.{key}:\s*(\d+)", assembly)
        return int(found.group(1)) if found else 0

    return Resources(
        registers=number("vgpr_count"),
        stack=number("private_segment_fixed_size"),
        spills=number("vgpr_spill_count"),  # scalar registers spill into vector registers, not into memory
        shared=binary.shared,
        wide_accesses=len(re.findall(r"\b(?:global|buffer)_(?:load|store)_dwordx4", assembly)),
        products=binary.products,
        hmma=0,
        hgmma=0,
        utcmma=0,
        mfma=len(re.findall(r"\bv_mfma_", assembly)),
    )


def _nvidia_resources(binary: Binary, usage: dict[str, int], code: str) -> Resources:
    return Resources(
        registers=usage["REG"],
        stack=usage["STACK"],
        spills=len(re.findall(r"\b(?:LDL|STL)\b", code)),
        shared=binary.shared,
        wide_accesses=len(re.findall(r"\b(?:LDG|STG|LDGSTS)\.\S*128|\bUTMA(?:LDG|STG)", code)),
        products=binary.products,
        hmma=len(re.findall(r"\bHMMA\b", code)),
        hgmma=len(re.findall(r"\bHGMMA\b", code)),
        utcmma=len(re.findall(r"\bUTC\w*MMA\b", code)),
        mfma=0,
    )


def specialisations(only: str = "", batch: int | None = None) -> dict[Specialisation, str]:
    """Return every binary that the launches need, with the name of the first launch that needs it.

    Args:
        only: Prefix of the names of the launches, such as a family.
        batch: Number of segments of a batch; by default that of the settings.
    """
    found: dict[Specialisation, str] = {}
    for name, run in all_launches(batch):
        if name.startswith(only):
            with recorded() as launched:
                run()
            for launch in launched:
                found.setdefault(specialise(launch), name)
    return found


def label(specialisation: Specialisation, name: str) -> str:
    """Return a line that names a specialisation: launch, kernel, constants, sizes that are divisible by 16."""
    constants = ", ".join(f"{key}={value}" for key, value in specialisation.constexprs)
    configuration = f"{specialisation.num_warps} warps, {specialisation.num_stages} stages"
    arguments = [specialisation.signature[place] for place in specialisation.divisible]
    divisible = ", ".join(argument for argument, kind in arguments if not kind.startswith("*")) or "none"
    return f"{name} | {specialisation.kernel} | {constants} | {configuration} | by 16: {divisible}"


def compile_all(only: str = "") -> dict[str, dict[str, Resources]]:
    """Return the resources by label and target, compiled on all cores."""
    needed = specialisations(only)
    labelled = {label(specialisation, name): specialisation for specialisation, name in needed.items()}
    assert len(labelled) == len(needed), "two binaries have one label"
    table: dict[str, dict[str, Resources]] = {row: {} for row in labelled}
    with ProcessPoolExecutor() as pool:
        binaries = {
            target: pool.map(compile_for, labelled.values(), [target] * len(labelled), chunksize=4)
            for target in TARGETS
        }
        for target, compiled in binaries.items():
            for row, resources in zip(labelled, read_resources(list(compiled), target), strict=True):
                table[row][target] = resources
    return table


if __name__ == "__main__":
    table = compile_all(*sys.argv[1:2])
    if len(sys.argv) > 1:
        for row, by_target in table.items():
            print(row)
            for target, resources in by_target.items():
                print(f"  {target:7s}", *(f"{key} {value}" for key, value in asdict(resources).items()))
    else:
        rows = {row: {t: asdict(r) for t, r in by_target.items()} for row, by_target in table.items()}
        RESOURCES.write_text(json.dumps({"triton": triton.__version__, "kernels": rows}, indent=1) + "\n")
        print(f"{len(rows)} kernels written to {RESOURCES}")
