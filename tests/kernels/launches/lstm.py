"""The LSTM of the models (128 units, 64 steps), of quick runs (32), the largest, and a GPU with less shared memory."""

from collections.abc import Callable, Iterator
from unittest.mock import patch

import torch
from fastser_kernels.lstm import kernels


def _run(units: int, dtype: torch.dtype, shared_memory: int) -> None:
    projected = torch.empty(50, 64, 4 * units, dtype=dtype, device="meta").transpose(0, 1)
    w_hh = torch.empty(4 * units, units, dtype=dtype, device="meta")
    with patch.object(kernels, "_shared_memory", lambda _: shared_memory):
        hidden, gates, cell = kernels.forward(projected, w_hh, False)
        kernels.backward(hidden, w_hh, gates, cell, False)


def launches() -> Iterator[tuple[str, Callable[[], object]]]:
    """Forward and backward."""
    for dtype, sizes in ((torch.float32, (128, 32)), (torch.bfloat16, (128, 32, 256))):
        for units in sizes:
            yield f"{dtype}, {units} units", lambda u=units, d=dtype: _run(u, d, 227 * 1024)
    yield "torch.bfloat16, 128 units, 99 KiB", lambda: _run(128, torch.bfloat16, 99 * 1024)
