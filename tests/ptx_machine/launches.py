"""Launches of Triton kernels, compiled for sm_80 and executed by the machine."""

import importlib
from functools import cache
from typing import Any

import triton
from ahead_of_time import Specialisation, specialise
from fastser_kernels.launch import Launch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ptx_machine.counts import Counts
from ptx_machine.machine import Machine

SM_80 = GPUTarget("cuda", 80, 32)


def compile_to_ptx(source: ASTSource, num_warps: int, num_stages: int) -> tuple[str, int]:
    """Compile a kernel for sm_80, without the assembler.

    Returns:
        The PTX text, and the bytes of shared memory of a block.
    """
    with knobs.runtime.scope():
        knobs.runtime.add_stages_inspection_hook = _skip_assembler
        options = {"num_warps": num_warps, "num_stages": num_stages}
        compiled = triton.compile(source, target=SM_80, options=options)
    return compiled.asm["ptx"], compiled.metadata.shared


def _skip_assembler(
    backend: Any = None, stages: Any = None, options: Any = None, language: Any = None, capability: Any = None
) -> tuple[str, str]:
    """Replace the last stage of the compiler; without arguments, return what tells these results from others."""
    if stages is not None:
        stages["cubin"] = lambda ptx, metadata: b""
    return "no cubin", "no cubin"


@cache
def compiled(specialisation: Specialisation) -> tuple[str, int]:
    """Return the PTX text of a specialisation, and the bytes of shared memory of a block."""
    source = ASTSource(
        fn=getattr(importlib.import_module(specialisation.module), specialisation.kernel),
        signature=dict(specialisation.signature),
        constexprs=dict(specialisation.constexprs),
        attrs={(place,): [["tt.divisibility", 16]] for place in specialisation.divisible},
    )
    return compile_to_ptx(source, specialisation.num_warps, specialisation.num_stages)


@cache
def machine(ptx: str, shared: int) -> Machine:
    """Return the machine that runs this PTX."""
    return Machine(ptx, shared)


def execute(launch: Launch, ptx: str | None = None, counts: Counts | None = None) -> None:
    """Run a launch on CPU tensors.

    Args:
        launch: The launch.
        ptx: Text to run instead of that of the kernel.
        counts: Counts to add to.
    """
    specialisation = specialise(launch)
    text, shared = compiled(specialisation)
    arguments = [launch.arguments[name] for name, kind in specialisation.signature if kind != "constexpr"]
    machine(ptx or text, shared).run(launch.grid, arguments, counts)
