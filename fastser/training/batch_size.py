"""Search for the largest batch size that fits into the memory of a GPU."""

import gc
from collections.abc import Callable

import torch
from torch import nn

from fastser.runtime.full_memory import is_out_of_gpu_memory
from fastser.runtime.precision import Precision
from fastser.training.loss import loss_function

SMALLEST_BATCH = 2
"""Smallest valid `training.batch_size`."""


def fitting_batch_size(
    build: Callable[[], nn.Module],
    batch_size: int,
    segment: tuple[int, int],
    device: torch.device,
    precision: Precision,
) -> int | None:
    """Try training steps at a batch size, at half of it, at a quarter and so on, until one succeeds.

    Args:
        build: Creates the model on the device.
        batch_size: First batch size to try.
        segment: Numbers of frames and bins of an input.
        device: Device of the steps. The result depends on its free memory at this moment.
        precision: Precision of the steps.

    Returns:
        Largest batch size that succeeded, or None if all of them down to `SMALLEST_BATCH` failed.

    Raises:
        RuntimeError: If a step fails for another reason than full memory.
    """
    while batch_size >= SMALLEST_BATCH:
        try:
            _training_step(build(), batch_size, segment, device, precision)
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
    """Return the error message for a run that did not fit into the memory of its GPU.

    Args:
        batch_size: Batch size of the run.
        fits: Result of `fitting_batch_size`.
    """
    happened = f"out of GPU memory at batch size {batch_size}"
    if fits is None:
        return f"{happened}, and no smaller one fits in what is free on this GPU"
    if fits == batch_size:
        return f"{happened}, which fits now: another process had taken the memory; --retry-failed tries again"
    return f"{happened}; {fits} fits: --set training.batch_size={fits} (with other settings, all runs start anew)"


def free_memory() -> None:
    """Return unused memory of the process to the GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _training_step(
    model: nn.Module, batch_size: int, segment: tuple[int, int], device: torch.device, precision: Precision
) -> None:
    optimizer = torch.optim.Adam(model.parameters(), fused=device.type == "cuda")
    x = torch.randn(batch_size, *segment, device=device)
    labels = torch.zeros(batch_size, dtype=torch.int64, device=device)
    loss_function(device, precision)(model, x, labels, None, None).backward()
    optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
