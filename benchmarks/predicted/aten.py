"""Work of operations of ATen: bytes of inputs and results, FLOPs by PyTorch's formulas."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.predicted.chips import Products
from benchmarks.predicted.work import Work

FREE = ("empty", "detach", "lazy_clone", "unsafe_view")
"""Parts of the names of operations that move nothing, beside those that return views."""


def moved_bytes(func: Any, args: Any, kwargs: Any, result: Any) -> int:
    """Return the bytes that an operation of ATen reads and writes, 0 for a view, an allocation or a question."""
    name = func.name()
    if func.namespace != "aten" or func.is_view or any(part in name for part in FREE):
        return 0
    inputs, results = (
        [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)] for tree in ((args, kwargs), result)
    )
    again = 0
    if "batch_norm_backward" in name:
        again = 2  # the sums first, then the gradient: both read the gradient and the input
    elif "batch_norm" in name or "convolution_backward" in name:
        again = 1  # statistics before normalising; the gradient for inputs and for weights
    return sum(leaf.nbytes for leaf in [*inputs, *results, *inputs[:again]])


def aten_work(func: Any, args: Any, kwargs: Any, result: Any) -> Work | None:
    """Return the work of an operation, or None if it moves nothing.

    Products of float32 count as such: the main job switches tf32 off in cuDNN, because it is less accurate.
    """
    moved = moved_bytes(func, args, kwargs, result)
    if not moved:
        return None
    name = func.overloadpacket.__name__
    products: dict[Products, float] = {}
    if func.overloadpacket in flop_registry:
        flops = flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
        dtype = next(leaf.dtype for leaf in tree_leaves(args) if isinstance(leaf, Tensor))
        products["bf16" if dtype in (torch.bfloat16, torch.float16) else "fp32"] = float(flops)
    return Work(name, float(moved), flops=products, launches=2 if "backward" in name and products else 1)
