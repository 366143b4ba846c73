"""Provenance of a result: machine, versions of the packages, and commit."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch
from fastser_kernels.native.library import native
from fastser_kernels.registration import reference_kernels_active

from fastser import __version__


def environment(device: str) -> dict[str, str]:
    """Return the provenance of results that this process computes, in the order of the report.

    Args:
        device: Name of the device, such as "cpu" or "cuda:0".
    """
    metadata = {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else f"CPU, {_threads()}",
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "soundfile": version("soundfile"),
        "soxr": version("soxr"),
        "fastser": __version__,
        "kernels": _kernels(device),
        "commit": _commit() or "unknown (not run from a git checkout)",
    }
    if device.startswith("cuda"):
        metadata["cuda"] = str(torch.version.cuda)
    return metadata


def _threads() -> str:
    number = torch.get_num_threads()
    return f"{number} thread{'' if number == 1 else 's'}"


def _kernels(device: str) -> str:
    """Return who computes the operations on this device."""
    if reference_kernels_active():
        return "reference (plain PyTorch)"
    if device.startswith("cuda"):
        return "fused"
    state = native()
    if state.library is None:
        return f"reference (no compiled kernels: {state.reason})"
    return f"fused (native {state.variant})"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    fields = {name.strip(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
    if "model name" not in fields:
        return platform.processor() or "unknown processor"
    if "cpu family" not in fields:
        return fields["model name"]
    return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"


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
