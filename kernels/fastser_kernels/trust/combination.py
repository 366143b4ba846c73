"""Identity of chip, driver and software: a verdict of the self-test holds for one combination of them."""

import hashlib
import platform
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from fastser_kernels.native.library import native

_PACKAGE = Path(__file__).parents[1]
_DRIVERS = (Path("/proc/driver/nvidia/version"), Path("/sys/module/amdgpu/version"))


def combination(device: torch.device) -> str:
    """Return chip, driver, software and digest of the kernels' sources, as one line of text.

    Args:
        device: Device that computes. A CPU's number of threads and compiled variant are part of the text, and a GPU's
            mode of float32 products.
    """
    software = f"torch {torch.__version__}, kernels {_digest()}"
    if device.type != "cuda":
        return f"{processor()}, native {native().variant}, {torch.get_num_threads()} threads, {software}"
    properties = torch.cuda.get_device_properties(device)
    tf32 = f"tf32 {int(torch.backends.cudnn.allow_tf32)}{int(torch.backends.cuda.matmul.allow_tf32)}"
    chip = f"{properties.name} ({properties.major}.{properties.minor}), driver {_driver()}, {_runtime()}"
    return f"{chip}, triton {_version('triton')}, {tf32}, {software}"


def processor() -> str:
    """Return the name of the CPU with its family and model number."""
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


def _driver() -> str:
    for path in _DRIVERS:
        try:
            found = re.search(r"\d+\.\d+(\.\d+)?", path.read_text())
        except OSError:
            continue
        if found:
            return found.group()
    return "unknown"


def _runtime() -> str:
    return f"hip {torch.version.hip}" if torch.version.hip else f"cuda {torch.version.cuda}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


@cache
def _digest() -> str:
    """Return a digest of the Python sources and of the loaded library."""
    hashed = hashlib.sha256()
    loaded = [_PACKAGE / "native" / f"{native().variant}.so"] if native().library is not None else []
    for path in [*sorted(_PACKAGE.rglob("*.py")), *loaded]:
        hashed.update(path.relative_to(_PACKAGE).as_posix().encode() + path.read_bytes())
    return hashed.hexdigest()[:12]
