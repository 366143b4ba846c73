"""The shared library of the compiled kernels: the variants that were built, and the one that this processor runs best.

The libraries take OpenMP from the runtime that torch has loaded, so both share one pool of threads.
"""

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch  # noqa: F401  (loads the OpenMP runtime that the libraries use)

FOLDER = Path(__file__).parent
"""Folder of the libraries; the build puts them beside this file."""

VARIANTS = ("v4-bf16", "v4", "v3", "neon")
"""Variants, the fastest first: x86-64 with AVX-512 and its bfloat16 products, with AVX-512, with AVX2; and aarch64."""

ENVIRONMENT = "FASTSER_NATIVE"
"""Environment variable that names the variant to load, or "off"."""


@dataclass(frozen=True)
class Native:
    """The state of the compiled kernels in this process.

    Attributes:
        variant: Name of the loaded variant, or "" if there is none.
        reason: Sentence that says why there is none.
        library: The loaded library, or None.
    """

    variant: str = ""
    reason: str = ""
    library: ctypes.CDLL | None = None


@cache
def native() -> Native:
    """Load the compiled kernels at the first call.

    Raises:
        RuntimeError: If the environment variable FASTSER_NATIVE names a variant that cannot be loaded.
    """
    wanted = os.environ.get(ENVIRONMENT, "")
    if wanted == "off":
        return Native(reason=f"{ENVIRONMENT}=off switches the compiled kernels off")
    if not (FOLDER / "processor.so").exists():
        if wanted:
            raise RuntimeError(f"{ENVIRONMENT}={wanted}: this installation has no compiled kernels; {_REPAIR}")
        return Native(reason=f"this installation has no compiled kernels; {_REPAIR}")
    if wanted:
        return _named(wanted)
    for variant in runnable():
        return _loaded(variant)
    return Native(reason="this processor runs none of the compiled kernels, which need AVX2 or an aarch64 processor")


_REPAIR = "install a C++ compiler such as g++ and install fastser again"


def runnable() -> list[str]:
    """Return the variants that were built and that this processor runs, the fastest first."""
    processor = ctypes.CDLL(str(FOLDER / "processor.so"))
    return [name for name in VARIANTS if _path(name).exists() and processor.fastser_runs(name.encode())]


def _named(wanted: str) -> Native:
    """Load the variant that the environment names. A suffix such as "v4+sanitizers" names a build for tests."""
    processor = ctypes.CDLL(str(FOLDER / "processor.so"))
    if not _path(wanted).exists() or not processor.fastser_runs(wanted.partition("+")[0].encode()):
        possible = ", ".join([*runnable(), "off"])
        raise RuntimeError(f"{ENVIRONMENT}={wanted}: this processor or installation has no such variant; use {possible}")
    state = _loaded(wanted)
    if state.library is None:
        raise RuntimeError(f"{ENVIRONMENT}={wanted}: {state.reason}")
    return state


def _loaded(variant: str) -> Native:
    try:
        return Native(variant=variant, library=ctypes.CDLL(str(_path(variant))))
    except OSError as error:  # for example torch without OpenMP
        return Native(reason=f"the compiled kernels {_path(variant).name} cannot be loaded: {error}")


def _path(variant: str) -> Path:
    return FOLDER / f"{variant}.so"
