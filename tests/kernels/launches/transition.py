"""The transition at the models' shapes: 64 segments of 128 x 64 maps behind a stem of stride 2."""

from collections.abc import Callable, Iterator

import torch
from fastser_kernels.transition import kernels


def launches() -> Iterator[tuple[str, Callable[[], object]]]:
    """A training step, and what an attack needs; master weights and statistics are fp32."""
    for dtype in (torch.float32, torch.bfloat16):
        for training in (True, False):
            mode = "training" if training else "eval, input only"
            yield f"{dtype}, {mode}", lambda dtype=dtype, training=training: _both(dtype, training)


def _both(dtype: torch.dtype, training: bool) -> None:
    x, pooled = (
        torch.empty(64, 192, *size, dtype=dtype, device="meta").contiguous(memory_format=torch.channels_last)
        for size in ((128, 64), (64, 32))
    )
    weight, bias, mean, var = torch.empty(4, 192, device="meta")
    running = (None, None) if training else (mean, var)
    _, *batch = kernels.forward(x, weight, bias, *running, training, 1e-5)
    kernels.backward(pooled, x, *batch, weight, bias, *running, training, 1e-5, not training)
