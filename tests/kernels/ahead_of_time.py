"""Compile recorded launches for GPUs that are not in this machine, and read the resources off the binaries.

`python tests/kernels/ahead_of_time.py` compiles every launch for every target, and rewrites `resources.json`, with
which test_ahead_of_time.py compares. `python tests/kernels/ahead_of_time.py lstm` compiles and prints one family.
"""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from assembly_log import ptxas_logged
from fastser_kernels.assembler import Assembly, right_assembler
from fastser_kernels.chips import WITHOUT_GPU, Chip, assumed
from fastser_kernels.launch import Launch, fp32_precision, launch_options, recorded
from launches import all_launches
from resources import Binary, Footprint, read
from targets import TARGETS
from triton.compiler import ASTSource

RESOURCES = Path(__file__).with_name("resources.json")
_POINTER = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.int64: "*i64",
    torch.uint8: "*u8",
}


SPILLING = {
    " PRECISION=.* on gfx1100": "256 registers are too few for these tiles; the self-test leaves slow ones to PyTorch",
    r"\| (level|pull|overlap)_kernel .* on gfx1100": "as above: a few registers of a spectrogram's tile",
    r"\| parameters_backward_kernel fp16 .* on sm_120": "24 bytes of addresses, outside of the loop",
}
"""Kernels that spill registers, each with its reason."""

MUCH = {"shared": 32 * 1024, "registers": 128}
"""Demands on sm_80 from which a kernel is compiled for partial targets: a third of 99 KiB, half of 255 registers."""


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
    chained_products: int


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
    options = launch.num_warps, launch.num_stages, launch.chained_products
    return Specialisation(kernel.__module__, kernel.__name__, *items, *options)


def _is_one(value: Any) -> bool:
    return isinstance(value, int) and value == 1


def compile_for(specialisation: Specialisation, architecture: str) -> Binary:
    """Compile for one GPU.

    Raises:
        triton.CompilationError: Or another exception of the compiler, if the kernel does not compile.
    """
    target = TARGETS[architecture]
    kernel = getattr(importlib.import_module(specialisation.module), specialisation.kernel)
    constants = dict(specialisation.constexprs)
    if "PRECISION" in constants:
        constants["PRECISION"] = fp32_precision(target.chip.on_amd)
    source = ASTSource(
        fn=kernel,
        signature=dict(specialisation.signature),
        constexprs=constants,
        attrs={(place,): [["tt.divisibility", 16]] for place in specialisation.divisible},
    )
    s = specialisation
    options = launch_options(s.num_warps, s.num_stages, target.chip, s.chained_products)
    ptxas = right_assembler()
    compile_kernel = triton.compile if ptxas is None else Assembly(triton.compile, ptxas)
    with ptxas_logged():
        compiled = compile_kernel(source, target=target.triton, options=options)
    return Binary(
        compiled.asm["amdgcn" if target.chip.on_amd else "cubin"],
        compiled.metadata.shared,
        compiled.asm["ttir"],
        "" if target.chip.on_amd else compiled.metadata.ptxas_log,
        specialisation.kernel,
        constants,
        options["num_warps"] * target.chip.warp_size,
        options["num_stages"],
    )


def specialisations(only: str = "", batch: int | None = None, chip: Chip = WITHOUT_GPU) -> dict[Specialisation, str]:
    """Return every binary that the launches need, with the name of the first launch that needs it.

    Args:
        only: Prefix of the names of the launches, such as a family.
        batch: Number of segments of a batch; by default that of the settings.
        chip: Chip that the launches are for.
    """
    found: dict[Specialisation, str] = {}
    for name, launches in recorded_launches(only, batch, chip):
        for launch in launches:
            found.setdefault(specialise(launch), name)
    return found


def recorded_launches(
    only: str = "", batch: int | None = None, chip: Chip = WITHOUT_GPU
) -> Iterator[tuple[str, list[Launch]]]:
    """Yield the launches by name. See `specialisations`."""
    for name, run in all_launches(batch):
        if name.startswith(only):
            with assumed(chip), recorded() as launched:
                run()
            yield name, launched


def label(specialisation: Specialisation, name: str) -> str:
    """Return a line that names a specialisation: launch, kernel and dtype, constants, sizes divisible by 16."""
    dtype = next(kind[1:] for _, kind in specialisation.signature if kind.startswith("*"))
    constants = ", ".join(f"{key}={value}" for key, value in specialisation.constexprs)
    configuration = f"{specialisation.num_warps} warps, {specialisation.num_stages} stages"
    arguments = [specialisation.signature[place] for place in specialisation.divisible]
    divisible = ", ".join(argument for argument, kind in arguments if not kind.startswith("*")) or "none"
    return f"{name} | {specialisation.kernel} {dtype} | {constants} | {configuration} | by 16: {divisible}"


def demanding(
    labelled: dict[str, Specialisation], measured: dict[str, dict[str, Footprint]]
) -> dict[str, Specialisation]:
    """Return the specialisations that may not fit a chip with little shared memory.

    These are, of every kernel, the one with the most shared memory and the one with the most registers on sm_80, if
    that is much (`MUCH`), and those that larger chips do not run.

    Args:
        labelled: All specialisations for the chip by label.
        measured: Footprints by label and target.
    """
    chosen = labelled.keys() - measured.keys()
    for kernel in {(s.module, s.kernel) for s in labelled.values()}:
        rows = [row for row, s in labelled.items() if (s.module, s.kernel) == kernel and row in measured]
        for name, much in MUCH.items():
            most, row = max(((getattr(measured[row]["sm_80"], name), row) for row in rows), default=(0, ""))
            if most >= much:
                chosen.add(row)
    return {row: specialisation for row, specialisation in labelled.items() if row in chosen}


def compile_all(only: str = "", *, everything: bool = False) -> dict[str, dict[str, Footprint]]:
    """Return the resources by label and target, compiled on all cores.

    Args:
        only: Prefix of the names of the launches, such as a family.
        everything: Compile every launch for every target, instead of the demanding ones for the partial targets.
    """
    table: dict[str, dict[str, Footprint]] = {}
    whole = [architecture for architecture, target in TARGETS.items() if target.whole]
    partial = [architecture for architecture, target in TARGETS.items() if not target.whole]
    with ProcessPoolExecutor() as pool:

        def start(rows: dict[str, Specialisation], architecture: str) -> tuple[str, list[str], Iterator[Binary]]:
            return (
                architecture,
                list(rows),
                pool.map(compile_for, rows.values(), [architecture] * len(rows), chunksize=4),
            )

        def finish(architecture: str, rows: list[str], compiled: Iterator[Binary]) -> None:
            for row, resources in zip(rows, read(list(compiled), TARGETS[architecture]), strict=True):
                table.setdefault(row, {})[architecture] = resources

        first, *running = [start(_labelled(only, WITHOUT_GPU), architecture) for architecture in whole]
        finish(*first)
        for architecture in partial:
            rows = _labelled(only, TARGETS[architecture].chip)
            running.append(start(rows if everything else demanding(rows, table), architecture))
        for work in running:
            finish(*work)
    return table


def _labelled(only: str, chip: Chip) -> dict[str, Specialisation]:
    needed = specialisations(only, chip=chip)
    labelled = {label(specialisation, name): specialisation for specialisation, name in needed.items()}
    assert len(labelled) == len(needed), "two binaries have one label"
    return labelled


def misfits(table: dict[str, dict[str, Footprint]]) -> list[str]:
    """Return a line for every kernel that spills, or asks for more shared memory than a chip has."""
    return [
        f"{kernel} on {architecture}: {footprint}"
        for kernel, by_target in table.items()
        for architecture, footprint in by_target.items()
        if footprint.shared > TARGETS[architecture].chip.shared_memory
        or ((footprint.stack or footprint.spills) and not spills_are_known(kernel, architecture))
    ]


def spills_are_known(kernel: str, architecture: str) -> bool:
    """Return whether a kernel is listed in `SPILLING`."""
    return any(re.search(pattern, f"{kernel} on {architecture}") for pattern in SPILLING)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        for row, by_target in compile_all(sys.argv[1]).items():
            print(row)
            for target, resources in by_target.items():
                print(f"  {target:7s}", *(f"{key} {value}" for key, value in asdict(resources).items()))
    else:
        if lines := misfits(compile_all(everything=True)):
            sys.exit("\n".join(lines))
        rows = {row: {t: asdict(r) for t, r in by_target.items()} for row, by_target in compile_all().items()}
        RESOURCES.write_text(json.dumps({"triton": triton.__version__, "kernels": rows}, indent=1) + "\n")
        print(f"{len(rows)} kernels written to {RESOURCES}")
