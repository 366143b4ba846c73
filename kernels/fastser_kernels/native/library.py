"""The shared library of the compiled kernels: the variants that were built, and the one that this processor runs best.

The libraries take OpenMP from the runtime that torch has loaded, so both share one pool of threads.
"""

import ctypes
import os
import platform
import sys
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch  # noqa: F401  (loads the OpenMP runtime that the libraries use)

from fastser_kernels.fallback_warning import FallbackWarning
from fastser_kernels.native.sources import sources_digest

FOLDER = Path(__file__).parent
"""Folder of the libraries; the build puts them beside this file."""

VARIANTS = ("v4-bf16", "v4", "v3", "neon")
"""Variants, the fastest first: x86-64 with AVX-512 and its bfloat16 products, with AVX-512, with AVX2; and aarch64."""

ENVIRONMENT = "FASTSER_NATIVE"
"""Environment variable that names the variant to load, or "off"."""

STALE = "compiled kernels are older than their sources: run python kernels/build_native.py"
"""Reason in a checkout whose C++ sources have changed since the build."""


class NativeError(RuntimeError):
    """Compiled kernels that FASTSER_NATIVE names and that cannot be loaded. The message is one sentence."""


@dataclass(frozen=True)
class Native:
    """The state of the compiled kernels in this process.

    Attributes:
        variant: Name of the loaded variant, or "" if there is none.
        reason: Why there is none, and what to do. It continues the words "no compiled kernels: ".
        library: The loaded library, or None.
    """

    variant: str = ""
    reason: str = ""
    library: ctypes.CDLL | None = None


@cache
def native() -> Native:
    """Load the compiled kernels at the first call.

    Raises:
        NativeError: If the environment variable FASTSER_NATIVE names a variant that cannot be loaded.
    """
    wanted = os.environ.get(ENVIRONMENT, "")
    if wanted == "off":
        return Native(reason=f"{ENVIRONMENT}=off")
    if not (FOLDER / "processor.so").exists():
        if wanted:
            raise NativeError(f"{ENVIRONMENT}={wanted}: no compiled kernels: {_why_missing()}")
        return Native(reason=_why_missing())
    if wanted:
        return _named(wanted)
    for variant in runnable():
        return _loaded(variant)
    return Native(reason="this processor runs none of them; they need AVX2 or an aarch64 processor")


def _why_missing() -> str:
    """Return why this installation has no libraries."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return f"there are none for {sys.platform} on {platform.machine()}, only for Linux on x86_64 and aarch64"
    return "this installation has none; install a C++ compiler such as g++, then install fastser again"


def runnable() -> list[str]:
    """Return the variants that were built and that this processor runs, the fastest first."""
    if not (FOLDER / "processor.so").exists():
        return []
    processor = ctypes.CDLL(str(FOLDER / "processor.so"))
    return [name for name in VARIANTS if _path(name).exists() and processor.fastser_runs(name.encode())]


def _named(wanted: str) -> Native:
    """Load the variant that the environment names. A suffix such as "v4+sanitizers" names a build for tests."""
    processor = ctypes.CDLL(str(FOLDER / "processor.so"))
    if not _path(wanted).exists() or not processor.fastser_runs(wanted.partition("+")[0].encode()):
        possible = ", ".join([*runnable(), "off"])
        raise NativeError(f"{ENVIRONMENT}={wanted}: this variant was not built or does not run here; use {possible}")
    state = _loaded(wanted)
    if state.library is None:
        raise NativeError(f"{ENVIRONMENT}={wanted}: {state.reason}")
    return state


def _loaded(variant: str) -> Native:
    try:
        library = ctypes.CDLL(str(_path(variant)))
    except OSError as error:  # for example torch without OpenMP
        return Native(reason=f"{_path(variant).name} cannot be loaded: {error}")
    if (FOLDER / "src").is_dir() and _digest_in(library) != sources_digest(FOLDER / "src"):
        warnings.warn(f"{STALE}; until then plain PyTorch computes", FallbackWarning, stacklevel=2)
        return Native(reason=STALE)
    return Native(variant=variant, library=library)


def _digest_in(library: ctypes.CDLL) -> str:
    """Return the digest of the sources that a library was compiled from, or nothing for one that holds none."""
    try:
        function = library.fastser_sources
    except AttributeError:
        return ""
    function.restype = ctypes.c_char_p
    digest: bytes = function()
    return digest.decode()


def _path(variant: str) -> Path:
    return FOLDER / f"{variant}.so"
