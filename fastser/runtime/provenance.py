"""On what a result was made: machine, versions, commit."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch
from fastser_kernels.registration import uses_reference

from fastser import __version__


def environment(device: str) -> dict[str, str]:
    """Names and texts that a result carries, in the order in which a report prints them."""
    facts = {
        "device": torch.cuda.get_device_name(device)
        if device.startswith("cuda")
        else f"CPU, {torch.get_num_threads()} threads",
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "soundfile": version("soundfile"),
        "soxr": version("soxr"),
        "fastser": __version__,
        "kernels": "eager (references in plain PyTorch)" if uses_reference() else "fused",
        "commit": _commit() or "unknown (not run from a git checkout)",
    }
    if device.startswith("cuda"):
        facts["cuda"] = str(torch.version.cuda)
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    facts = {name.strip(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
    if "model name" not in facts:
        return platform.processor() or "unknown processor"
    if "cpu family" not in facts:
        return facts["model name"]
    return f"{facts['model name']} (family {facts['cpu family']}, model {facts['model']})"


@cache
def _commit() -> str | None:
    """Commit of the checkout this package lies in, with "+" if tracked files were changed; None where there is none."""
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
