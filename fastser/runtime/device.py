"""Device of a process, set up so that the same seed gives the same bits."""

import os

import torch

from fastser.runtime.errors import UserError
from fastser.runtime.malloc import keep_freed_memory


class DeviceError(UserError, ValueError):
    """A device that cannot be used. The message is one sentence."""


def named_device(name: str) -> torch.device:
    """Return a device by name, and set up this process for it.

    Algorithms become deterministic, float32 products are computed in full precision, and on a CPU freed memory is kept.
    Only commands and workers call this function.

    Args:
        name: "cpu", "cuda", "cuda:1", or "auto", which takes a GPU if there is one.

    Raises:
        DeviceError: If there is no such device.
    """
    device = _existing_device(name)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if device.type == "cpu":
        torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms would load the compiler, in a second
        keep_freed_memory()
    else:
        torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.allow_tf32 = False
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # filling is slow
    return device


def _existing_device(name: str) -> torch.device:
    """Return the device of this name if this machine has it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"--device {name}: not a device; give cpu, cuda, cuda:1 or auto") from None
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"--device {name}: only cpu and cuda are supported")
    number = torch.cuda.device_count() if device.type == "cuda" else 1
    if not 0 <= (device.index or 0) < number:
        kind = "CUDA" if device.type == "cuda" else "CPU"
        raise DeviceError(f"--device {name}: there is no such {kind} device on this machine (it has {number})")
    return device
