"""The LSTM in float16, with the largest number of units, and on a GPU with less shared memory."""

from collections.abc import Callable, Iterator
from functools import partial
from unittest.mock import patch

import torch
from fastser_kernels.lstm import kernels


def launches(batch: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield forward and backward."""
    yield "torch.float16, 128 units", partial(_run, batch, 128, torch.float16, 227 * 1024)
    yield "torch.bfloat16, 256 units", partial(_run, batch, 256, torch.bfloat16, 227 * 1024)
    yield "torch.bfloat16, 128 units, 99 KiB", partial(_run, batch, 128, torch.bfloat16, 99 * 1024)


def _run(batch: int, units: int, dtype: torch.dtype, shared_memory: int) -> None:
    projected = torch.empty(batch, 64, 4 * units, dtype=dtype, device="meta").transpose(0, 1)
    w_hh = torch.empty(4 * units, units, dtype=dtype, device="meta")
    with patch.object(kernels, "_shared_memory", lambda _: shared_memory):
        hidden, gates, cell = kernels.forward(projected, w_hh, False)
        kernels.backward(hidden, w_hh, gates, cell, False)
