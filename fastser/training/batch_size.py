"""Which batch size fits into the memory of a GPU, found by trying."""

import gc
from collections.abc import Callable

import torch
from torch import nn

from fastser.training.loss import loss_function

SMALLEST_BATCH = 2
"""What `training.batch_size` may be at least."""


def is_out_of_gpu_memory(error: Exception) -> bool:
    """Whether an error is PyTorch's or the CUDA driver's for a GPU whose memory is full."""
    by_driver = isinstance(error, RuntimeError) and "CUDA" in str(error) and "out of memory" in str(error)
    return isinstance(error, torch.OutOfMemoryError) or by_driver


def fitting_batch_size(
    build: Callable[[], nn.Module], batch_size: int, segment: tuple[int, int], device: torch.device
) -> int | None:
    """Try training steps at a batch size, half of it, a quarter and so on, until one goes through.

    Args:
        build: Makes the model on the device.
        batch_size: To begin with.
        segment: Frames and bins of its inputs.
        device: Where it is tried, with the memory that is free there at this moment.

    Returns:
        The largest that went through; None if not even `SMALLEST_BATCH` segments or their half do.
    """
    while batch_size >= SMALLEST_BATCH:
        try:
            _training_step(build(), batch_size, segment, device)
        except RuntimeError as error:
            if not is_out_of_gpu_memory(error):
                raise
        else:
            return batch_size
        finally:
            free_memory()
        batch_size //= 2
    return None


def advice(batch_size: int, fits: int | None) -> str:
    """The sentence for someone whose training did not fit.

    Args:
        batch_size: That of the training.
        fits: What `fitting_batch_size` found.
    """
    happened = f"out of GPU memory at batch size {batch_size}"
    if fits is None:
        return f"{happened}, and no smaller one fits in what is free on this GPU"
    if fits == batch_size:
        return f"{happened}, which fits now: something else had taken the memory, and --retry-failed tries again"
    return f"{happened}; {fits} fits: --set training.batch_size={fits} (another setting: all trainings are new)"


def free_memory() -> None:
    """Give back what no tensor needs any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _training_step(model: nn.Module, batch_size: int, segment: tuple[int, int], device: torch.device) -> None:
    optimizer = torch.optim.Adam(model.parameters(), fused=device.type == "cuda")
    x = torch.randn(batch_size, *segment, device=device)
    labels = torch.zeros(batch_size, dtype=torch.int64, device=device)
    loss_function(device)(model, x, labels, None, None).backward()
    optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
