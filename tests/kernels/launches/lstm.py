"""The LSTM in float16, and with the largest number of units."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from fastser_kernels.lstm import kernels


def launches(batch: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield forward and backward."""
    yield "torch.float16, 128 units", partial(_run, batch, 128, torch.float16)
    yield "torch.bfloat16, 256 units", partial(_run, batch, 256, torch.bfloat16)


def _run(batch: int, units: int, dtype: torch.dtype) -> None:
    projected = torch.empty(batch, 64, 4 * units, dtype=dtype, device="meta").transpose(0, 1)
    w_hh = torch.empty(4 * units, units, dtype=dtype, device="meta")
    hidden, gates, cell = kernels.forward(projected, w_hh, False)
    kernels.backward(hidden, w_hh, gates, cell, False)
