"""Precision in which a model computes: float32, or a 16-bit dtype with float32 where rounding would add up.

In bfloat16 the maps that layers return are stored in bfloat16, and convolutions and matrix products multiply bfloat16
values. Sums, batch statistics, weights, their gradients and the optimiser's state are float32. Logits are cast to
float32, so that the loss is float32 too. `torch.autocast` chooses the dtypes, in the same way on a CPU and on a GPU.
float16 works alike. Its range is small, so a training scales the loss (`fastser.training.state`).

Convolutions of some shapes are known to be wrong in bfloat16 in oneDNN, PyTorch's library for CPUs (pytorch issues
163347 and 169688). `first_wrong` compares those that a model calls with float32.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Precision = Literal["float32", "bfloat16", "float16"]
"""Name of a precision, as settings and results give it."""

_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""Dtypes of `torch.autocast`."""

LARGEST_ERROR = 2**-6
"""Largest error of a value of a correct operation, relative to the value and to the root mean square of all values.

Rounding to bfloat16 gives up to a quarter of it, relative to the value alone.
"""

_MAP = (20, 18)
"""Frames and bins of the maps on which an operation is tested."""


def multiplies_bfloat16_fast(device: torch.device) -> bool:
    """Return whether the hardware of a device multiplies bfloat16 values faster than float32 values.

    A GPU that this machine does not have, such as that of a Slurm job, is assumed to be sm_80 or later.
    """
    if device.type == "cuda":
        return not torch.cuda.is_available() or torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def multiplies_float16_alone_fast(device: torch.device) -> bool:
    """Return whether a device is a GPU whose tensor cores multiply float16 values and no bfloat16 values.

    GTX GPUs of that age have no tensor cores.
    """
    if device.type != "cuda" or not torch.cuda.is_available():
        return False
    old = (7, 0) <= torch.cuda.get_device_capability(device) < (8, 0)
    return old and "GTX" not in torch.cuda.get_device_name(device)


def logits_in(precision: Precision, model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the logits of a model in float32, computed in a precision.

    Args:
        precision: Precision of the forward pass and of its backward pass.
        model: Model with float32 weights.
        x: Input of the model, float32.
    """
    with torch.autocast(x.device.type, _AUTOCAST.get(precision), enabled=precision in _AUTOCAST):
        logits = model(x)
    return logits.float()


class _InPrecision(nn.Module):
    """A model that computes in a 16-bit precision and returns float32 logits."""

    def __init__(self, model: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.model = model
        self.precision = precision

    def forward(self, x: Tensor) -> Tensor:
        return logits_in(self.precision, self.model, x)


def in_precision(model: nn.Module, precision: Precision) -> nn.Module:
    """Return a model with the same weights that computes in a precision. For float32 it is the model itself."""
    return model if precision == "float32" else _InPrecision(model, precision)


class Operation(Protocol):
    """A hashable operation on an input and a weight. Its text names it in warnings."""

    def operands(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw an input and a weight, float32."""

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        """Compute the result in the dtype of the operands."""


@dataclass(frozen=True)
class Convolution:
    """A convolution without bias, padded by half of its kernel, over maps in channels_last layout.

    Attributes:
        inputs: Number of input channels.
        outputs: Number of output channels.
        kernel: Size of the kernel, frames x bins.
        stride: Stride of both axes.
    """

    inputs: int
    outputs: int
    kernel: tuple[int, int]
    stride: int = 1

    def __str__(self) -> str:
        size, channels = "x".join(map(str, self.kernel)), f"{self.inputs} to {self.outputs} channels"
        return f"the {size} convolution of {channels}" + (f" with stride {self.stride}" if self.stride > 1 else "")

    def operands(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Implement `Operation`."""
        shapes = (2, self.inputs, *_MAP), (self.outputs, self.inputs, *self.kernel)
        x, weight = (torch.randn(shape, generator=generator, device="cpu") for shape in shapes)
        layout = torch.channels_last
        return x.contiguous(memory_format=layout), weight.contiguous(memory_format=layout)

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        """Implement `Operation`."""
        return F.conv2d(x, weight, stride=self.stride, padding=(self.kernel[0] // 2, self.kernel[1] // 2))


@dataclass(frozen=True)
class MatrixProduct:
    """The matrix product of a linear layer.

    Attributes:
        inputs: Number of input features.
        outputs: Number of output features.
    """

    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"the matrix product of {self.inputs} to {self.outputs} features"

    def operands(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Implement `Operation`."""
        x, weight = (torch.randn(n, self.inputs, generator=generator, device="cpu") for n in (16, self.outputs))
        return x, weight

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        """Implement `Operation`."""
        return F.linear(x, weight)


@cache
def first_wrong(operations: tuple[Operation, ...]) -> str | None:
    """Return the first operation that a CPU computes wrongly in bfloat16, as text, or None.

    Result and gradients of small random operands are compared with float32. Each tuple of operations is tested once per
    process. Torch's global random generators are not used.
    """
    generator = torch.Generator().manual_seed(0)
    return next((str(operation) for operation in operations if not _is_right(operation, generator)), None)


def _is_right(operation: Operation, generator: torch.Generator) -> bool:
    x, weight = (operand.bfloat16() for operand in operation.operands(generator))
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        exact = _result_and_gradients(operation, x.float(), weight.float())
        rounded = _result_and_gradients(operation, x, weight)
    for ours, right in zip(rounded, exact, strict=True):
        allowed = LARGEST_ERROR * (right.abs() + right.square().mean().sqrt())
        if not bool(((ours.float() - right).abs() <= allowed).all()):  # NaN is not allowed either
            return False
    return True


def _result_and_gradients(operation: Operation, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the result, and the gradients of x and weight for a gradient that is the same in both dtypes."""
    x, weight = x.requires_grad_(), weight.requires_grad_()
    result = operation(x, weight)
    # The golden ratio spreads the values evenly over -1 to 1.
    gradient = (torch.arange(result.numel(), device="cpu") * 0.618034).remainder(2.0) - 1.0
    grad_x, grad_weight = torch.autograd.grad(result, (x, weight), gradient.bfloat16().to(x.dtype).view(result.shape))
    return result.detach(), grad_x, grad_weight
