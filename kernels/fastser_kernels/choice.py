"""The choice of the current thread between kernels and references."""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Mode = Literal["auto", "fused", "reference"]
"""Implementation that is used: kernels unless a self-test failed, kernels in any case, or the references."""


class _Choice(threading.local):
    """The implementation that each thread uses."""

    mode: Mode = "auto"
    by_reference: tuple[tuple[str, torch.dtype, bool], ...] = ()
    asked: set[tuple[str, torch.dtype]] | None = None


choice = _Choice()
"""Choice of the current thread. `use_kernels` changes it."""


@contextmanager
def use_kernels(mode: Mode, by_reference: Collection[tuple[str, torch.dtype, bool]] = ()) -> Iterator[None]:
    """Choose the implementation of the operations inside the `with` block.

    At its end the block restores the earlier choice, also after an exception and inside another block. The choice
    belongs to the current thread: a thread that is started inside the block has its own, which is "auto". A function
    compiled by torch.compile is compiled once for each choice.

    Args:
        mode: "auto" takes the kernels, except those that a self-test on this machine found wrong or, on a GPU, slow
            (`fastser_kernels.trust`). "fused" takes the kernels without a test. "reference" takes the references.
        by_reference: Families that the reference computes in any mode, each with a dtype and with whether this is so
            in graphs of torch.compile (True) or outside of them (False).

    Example:
        >>> import torch
        >>> from fastser_kernels import gather_segments, use_kernels
        >>> bank, start, length = torch.ones(6, 2), torch.tensor([1]), torch.tensor([3])
        >>> with use_kernels("fused"):
        ...     segments = gather_segments(bank, start, length, 0.0, 1.0, 4)
        >>> segments[0, :, 0].tolist()
        [1.0, 1.0, 1.0, 0.0]
    """
    before = choice.mode, choice.by_reference
    choice.mode, choice.by_reference = mode, tuple(by_reference)
    try:
        yield
    finally:
        choice.mode, choice.by_reference = before


@contextmanager
def reference_kernels() -> Iterator[None]:
    """Compute with the eager references instead of the operations inside the `with` block.

    This is `use_kernels("reference")`.

    Example:
        >>> import torch
        >>> from fastser_kernels import highway, reference_kernels
        >>> weight, bias = torch.eye(2), torch.zeros(2)
        >>> with reference_kernels():
        ...     y = highway(torch.ones(1, 2), [weight], [bias], [weight], [bias])
        >>> y.tolist()
        [[1.0, 1.0]]
    """
    with use_kernels("reference"):
        yield


def kernel_mode() -> Mode:
    """Return the mode of the innermost `use_kernels` block of the current thread."""
    return choice.mode


def reference_kernels_active() -> bool:
    """Return whether the references compute in the current thread."""
    return choice.mode == "reference"


@contextmanager
def operations_asked() -> Iterator[set[tuple[str, torch.dtype]]]:
    """Collect the families, each with the dtype of its input, that the current thread calls inside the `with` block."""
    asked: set[tuple[str, torch.dtype]] = set()
    before, choice.asked = choice.asked, asked
    try:
        yield asked
    finally:
        choice.asked = before
