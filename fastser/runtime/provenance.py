"""Provenance of a result: machine, versions of the packages, and commit."""

import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch
from fastser_kernels import kernel_mode
from fastser_kernels.native.library import native
from fastser_kernels.trust.combination import processor
from fastser_kernels.trust.trusted import reasons

from fastser import __version__
from fastser.runtime.counted import counted


def environment(device: str, fallbacks: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the provenance of results that this process computes, in the order of the report.

    Args:
        device: Name of the device, such as "cpu" or "cuda:0".
        fallbacks: Operations that a self-test has left to the reference, "lstm in float32" -> reason. By default those
            of this process, in the mode that `fastser_kernels.use_kernels` chose.
    """
    metadata = {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else f"CPU, {_threads()}",
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "scikit-learn": version("scikit-learn"),
        "soundfile": version("soundfile"),
        "soxr": version("soxr"),
        "fastser": __version__,
        "kernels": _kernels(device, fallbacks),
        "commit": _commit() or "unknown (not run from a git checkout)",
    }
    if device.startswith("cuda"):
        metadata["cuda"] = str(torch.version.cuda)
    return metadata


def _threads() -> str:
    return counted(torch.get_num_threads(), "thread")


def _kernels(device: str, fallbacks: Mapping[str, str] | None) -> str:
    """Return which implementation computes on this device."""
    mode, state = kernel_mode() if fallbacks is None else "auto", native()
    if mode == "reference":
        return "reference (plain PyTorch)"
    if not device.startswith("cuda") and state.library is None:
        return f"reference (no compiled kernels: {state.reason})"
    kernels = "fused" if device.startswith("cuda") else f"fused (native {state.variant})"
    if mode == "fused":
        return kernels
    found = reasons(torch.device(device)) if fallbacks is None else fallbacks
    left = "; ".join(f"{operation} by the reference ({reason})" for operation, reason in found.items())
    return f"auto: {kernels}" + (f", but {left}" if left else "")


@cache
def _commit() -> str | None:
    """Return the commit of the checkout of this package, with "+" if tracked files have changed, or None."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
