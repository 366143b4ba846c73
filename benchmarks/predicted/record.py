"""The work of a call: it runs on tensors without values, and every kernel that a GPU would run is counted."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from fastser_kernels.launch import recorded
from fastser_kernels.lstm.op import ideal_bytes as lstm_bytes
from fastser_kernels.lstm.op import ideal_flops as lstm_flops
from fastser_kernels.norm_relu import op as norm_relu
from fastser_kernels.registration import OPERATIONS
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from benchmarks.predicted.aten import aten_work
from benchmarks.predicted.chips import Products
from benchmarks.predicted.kernels import launch_work
from benchmarks.predicted.work import Work

LIBRARY = "fastser_kernels"


@dataclass(frozen=True)
class _Operation:
    """A call of one of fastser's operations, with meta tensors."""

    name: str
    arguments: tuple[Any, ...]


class _Calls(TorchDispatchMode):
    """List of the work of ATen's operations, and of the calls of fastser's."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Work | _Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.namespace == LIBRARY:
            self.seen.append(_Operation(func.overloadpacket.__name__, tree_map_only(Tensor, _meta, args)))
        elif (work := aten_work(func, args, kwargs, result)) is not None:
            self.seen.append(work)
        return result


def _meta(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def work_of(
    call: Callable[[], object], operations: Callable[[str, tuple[Any, ...]], list[Work]] | None = None
) -> list[Work]:
    """Return the work of every kernel of a call, in order.

    Args:
        call: Function that makes its inputs itself and calls a model on them. It may use parameters that it has not
            made. Its tensors are on the CPU and have no values, and it computes as if they were on a GPU.
        operations: Returns the work of one of fastser's operations. By default `operation_work`.
    """
    operations = operations or operation_work
    with ExitStack() as stack:
        stack.enter_context(patch.object(norm_relu, "SMALL", 0))  # on a GPU no size is left to the reference
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        calls = stack.enter_context(_Calls())
        call()
    works: list[Work] = []
    for seen in calls.seen:
        works += [seen] if isinstance(seen, Work) else operations(seen.name, seen.arguments)
    return works


def operation_work(name: str, arguments: tuple[Any, ...]) -> list[Work]:
    """Return the work of one of fastser's operations: its launches, and the operations of ATen around them.

    Args:
        name: Name of the operation.
        arguments: Its arguments, with meta tensors.
    """
    return work_on_device(lambda: OPERATIONS[name].launch(*arguments))


def cudnn_lstm_work(name: str, arguments: tuple[Any, ...]) -> list[Work]:
    """Return the work of the recurrence of nn.LSTM, with one launch for each time step.

    Args:
        name: "lstm_recurrence" or "lstm_recurrence_backward".
        arguments: Arguments of fastser's operation of that name.

    Raises:
        ValueError: If it is another operation. Eager PyTorch has none of them.
    """
    if not name.startswith("lstm_recurrence"):
        raise ValueError(f"eager PyTorch does not call {name}: replace its layer by plain modules")
    steps, batch, _ = arguments[0].shape
    shape, itemsize = (steps, batch, arguments[1].shape[1]), arguments[0].element_size()
    kind: Products = "fp32" if itemsize == 4 else "bf16"
    return [Work("cudnn_lstm", float(lstm_bytes(shape, itemsize)), flops={kind: lstm_flops(shape)}, launches=steps)]


def work_on_device(call: Callable[[], object]) -> list[Work]:
    """Return the work of every kernel of a call that launches kernels itself. fastser's kernels are not run.

    Args:
        call: Function that computes on tensors of a GPU, or a launcher on meta tensors.
    """
    with recorded() as launched, _Calls() as calls:
        call()
    return [*(launch_work(launch) for launch in launched), *(work for work in calls.seen if isinstance(work, Work))]
