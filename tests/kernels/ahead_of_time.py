"""Compile recorded launches for GPUs that are not here, and read registers, stack and shared memory off the binary.

`python tests/kernels/ahead_of_time.py` compiles every launch and rewrites `resources.json`, which test_ahead_of_time.py
compares with. `python tests/kernels/ahead_of_time.py dense_block` compiles the launches of one family and prints them.
"""

import importlib
import json
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import triton
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
SHARED_LIMIT = {"sm_80": 163 * 1024, "sm_90": 227 * 1024, "sm_100": 227 * 1024, "gfx942": 64 * 1024}
_POINTER = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.int64: "*i64"}


@dataclass(frozen=True)
class Resources:
    """What one compiled kernel needs, per thread (registers, stack) or block (shared), and what its code contains.

    A program's products are its `tl.dot`s, "rows x columns x depth of the tile, dtype of the operands". On NVIDIA they
    become instructions of a warp (HMMA) or of a group of four warps (HGMMA on sm_90, UTCMMA on sm_100), on AMD of a
    wavefront (MFMA).
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
    """A kernel as Triton would specialise it for one launch: picklable, equal where the binary is."""

    module: str
    kernel: str
    signature: tuple[tuple[str, str], ...]
    constexprs: tuple[tuple[str, Any], ...]
    divisible: tuple[int, ...]
    num_warps: int
    num_stages: int


def specialise(launch: Launch) -> Specialisation:
    """Types, constants and divisibility of a launch's arguments, by Triton's rules."""
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


def compile_for(specialisation: Specialisation, target: str) -> Resources:
    """Compile for one GPU.

    Raises:
        triton.CompilationError: Or whatever the compiler raises, if it does not compile.
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
    if on_amd:
        return _amd_resources(compiled.asm["amdgcn"], compiled.metadata.shared, products)
    return _nvidia_resources(compiled.asm["cubin"], compiled.metadata.shared, products)


def _amd_resources(assembly: str, shared: int, products: str) -> Resources:
    def number(key: str) -> int:
        found = re.search(rf"\.{key}:\s*(\d+)", assembly)
        return int(found.group(1)) if found else 0

    return Resources(
        registers=number("vgpr_count"),
        stack=number("private_segment_fixed_size"),
        spills=number("vgpr_spill_count"),  # scalar registers spill into vector registers, not into memory
        shared=shared,
        wide_accesses=len(re.findall(r"\b(?:global|buffer)_(?:load|store)_dwordx4", assembly)),
        products=products,
        hmma=0,
        hgmma=0,
        utcmma=0,
        mfma=len(re.findall(r"\bv_mfma_", assembly)),
    )


def _nvidia_resources(cubin: bytes, shared: int, products: str) -> Resources:
    tool = str(Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage, code = (
            subprocess.run([tool, option, file.name], capture_output=True, text=True, check=True).stdout
            for option in ("--dump-resource-usage", "--dump-sass")
        )
    counts = {name: int(value) for name, value in re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", usage)}
    return Resources(
        registers=counts["REG"],
        stack=counts["STACK"],
        spills=len(re.findall(r"\b(?:LDL|STL)\b", code)),
        shared=shared,
        wide_accesses=len(re.findall(r"\b(?:LDG|STG|LDGSTS)\.\S*128|\bUTMA(?:LDG|STG)", code)),
        products=products,
        hmma=len(re.findall(r"\bHMMA\b", code)),
        hgmma=len(re.findall(r"\bHGMMA\b", code)),
        utcmma=len(re.findall(r"\bUTC\w*MMA\b", code)),
        mfma=0,
    )


def specialisations(only: str = "", batch: int | None = None) -> dict[Specialisation, str]:
    """Every different binary that the launches need, with the name of the first launch that needs it.

    Args:
        only: How the names of the launches begin: a family.
        batch: Segments of a batch, where it is not what the settings say.
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
    """One line that names a specialisation: launch, kernel, constants, sizes that are divisible by 16."""
    constants = ", ".join(f"{key}={value}" for key, value in specialisation.constexprs)
    configuration = f"{specialisation.num_warps} warps, {specialisation.num_stages} stages"
    arguments = [specialisation.signature[place] for place in specialisation.divisible]
    divisible = ", ".join(argument for argument, kind in arguments if not kind.startswith("*")) or "none"
    return f"{name} | {specialisation.kernel} | {constants} | {configuration} | by 16: {divisible}"


def compile_all(only: str = "") -> dict[str, dict[str, Resources]]:
    """Resources by label and target, on all cores."""
    needed = specialisations(only)
    labelled = {label(specialisation, name): specialisation for specialisation, name in needed.items()}
    assert len(labelled) == len(needed), "two binaries have one label"
    jobs = [(row, target) for row in labelled for target in TARGETS]
    table: dict[str, dict[str, Resources]] = {row: {} for row in labelled}
    with ProcessPoolExecutor() as pool:
        compiled = pool.map(compile_for, [labelled[row] for row, _ in jobs], [target for _, target in jobs])
        for (row, target), resources in zip(jobs, compiled, strict=True):
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
