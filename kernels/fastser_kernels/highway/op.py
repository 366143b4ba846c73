"""Highway network: fully connected layers with a learned gate between their result and their unchanged input.

    t = sigmoid(x W_t' + b_t),    h = relu(x W_h' + b_h),    y = t h + (1 - t) x

Let q be the gradient of y. The gradients before the ReLU and the sigmoid of a layer, and of its input, are

    dh = q t [h > 0],    dt = q (h - x) t (1 - t),    dx = q (1 - t) + dh W_h + dt W_t

and dW_h = dh' x, db_h = sum dh, dW_t = dt' x, db_t = sum dt. For the backward pass every layer keeps x, h and t, as
autograd does. Recomputing h and t would cost a third more arithmetic, and would save little memory compared with the
maps of a convolution. Shapes: x and result `[N, U]`, weights `[U, U]` as in nn.Linear. Source: Srivastava et al. 2015
(coupled gates).
"""

from typing import Any

import torch
from torch import Tensor

from fastser_kernels.checks import check_floating, check_number, check_parameter, check_shape
from fastser_kernels.highway import native, reference
from fastser_kernels.packing import unpacked
from fastser_kernels.registration import has_kernel, operation
from fastser_kernels.transforms import backward_needs_aten, reference_gradients


@operation("highway_forward", cpu=native.forward, triton="highway.kernels:forward")
def _forward(
    x: Tensor,
    w_h: list[Tensor],
    b_h: list[Tensor],
    w_t: list[Tensor],
    b_t: list[Tensor],
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return result, hidden units and gates of every layer."""
    results, hidden, gates = ([x.new_empty(x.shape) for _ in w_h] for _ in range(3))
    return results, hidden, gates


@operation("highway_backward", cpu=native.backward, triton="highway.kernels:backward")
def _backward(
    grad: Tensor,
    inputs: list[Tensor],
    hidden: list[Tensor],
    gates: list[Tensor],
    w_h: list[Tensor],
    w_t: list[Tensor],
    input_only: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    """Return the gradients of x, w_h, b_h, w_t and b_t; these lists are empty if `input_only`."""
    learned = [] if input_only else w_h
    grad_w_h, grad_w_t = ([w.new_empty(w.shape) for w in learned] for _ in range(2))
    grad_b_h, grad_b_t = ([w.new_empty(w.shape[0]) for w in learned] for _ in range(2))
    return grad.new_empty(grad.shape), grad_w_h, grad_b_h, grad_w_t, grad_b_t


def ideal_bytes(rows: int, units: int, layers: int, itemsize: int, *, backward: bool) -> int:
    """Return the bytes that must be moved.

    Forward: x and the parameters read, the result and three states per layer written. Backward to x and all parameters:
    the gradient of the result, states and weights read, the gradients of x and of the parameters written.
    """
    features, weights, biases = rows * units, 2 * layers * units * units, 2 * layers * units
    return itemsize * ((2 + 3 * layers) * features + (2 if backward else 1) * weights + biases)


def ideal_flops(rows: int, units: int, layers: int, *, backward: bool) -> int:
    """Return the FLOPs of the matrix products; the backward pass is the one to x and all parameters."""
    return (8 if backward else 4) * rows * units * units * layers


class _Highway(torch.autograd.Function):
    """The network as a function of x, the number of layers, and the tensors of w_h, b_h, w_t and b_t in this order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: int, *parameters: Tensor) -> Tensor:
        w_h, b_h, w_t, b_t = unpacked(parameters, 4)
        results, hidden, gates = _forward(x, w_h, b_h, w_t, b_t)
        *inner, result = results
        ctx.save_for_backward(x, *inner, *hidden, *gates, *parameters)
        ctx.layers = layers
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, hidden, gates, w_h, b_h, w_t, b_t = unpacked(ctx.saved_tensors, 7)
        x_wanted, _, *parameters_wanted = ctx.needs_input_grad
        if backward_needs_aten(grad):
            tensors, wanted = [inputs[0], *w_h, *b_h, *w_t, *b_t], [x_wanted, *parameters_wanted]
            grad_x, *gradients = reference_gradients(_reference, tensors, wanted, grad)
            return grad_x, None, *gradients
        input_only = not any(parameters_wanted)
        grad_x, *lists = _backward(grad, inputs, hidden, gates, w_h, w_t, input_only)
        if input_only:
            return grad_x, None, *[None] * len(parameters_wanted)
        grad_w_h, grad_b_h, grad_w_t, grad_b_t = lists
        return grad_x, None, *grad_w_h, *grad_b_h, *grad_w_t, *grad_b_t


def _reference(x: Tensor, *parameters: Tensor) -> Tensor:
    return reference.highway(x, *unpacked(parameters, 4))


def highway(x: Tensor, w_h: list[Tensor], b_h: list[Tensor], w_t: list[Tensor], b_t: list[Tensor]) -> Tensor:
    """Run all layers of a highway network. Entry i of each list belongs to layer i.

    Args:
        x: Features `[N, U]`, floating point.
        w_h: Weights `[U, U]` of the hidden units. All parameters have the dtype of `x` or, for float16 and bfloat16
            `x`, float32.
        b_h: Biases `[U]` of the hidden units.
        w_t: Weights `[U, U]` of the transform gates.
        b_t: Biases `[U]` of the transform gates.

    Returns:
        `[N, U]` in the dtype of `x`.

    Raises:
        ValueError: If a tensor has the wrong shape or device, or the lists differ in length.
        TypeError: If a tensor has the wrong dtype.

    Example:
        >>> import torch
        >>> from fastser_kernels import highway
        >>> weights, biases = [torch.randn(4, 4), torch.randn(4, 4)], [torch.zeros(4), torch.zeros(4)]
        >>> highway(torch.randn(3, 4), weights, biases, weights, biases).shape
        torch.Size([3, 4])
    """
    check_shape("x", x, ["N", "U"])
    check_floating("x", x)
    lists = {"w_h": w_h, "b_h": b_h, "w_t": w_t, "b_t": b_t}
    units = x.shape[1]
    for name, tensors in lists.items():
        check_number(name, tensors, len(w_h), of="w_h")
        shape = (units, units) if name in ("w_h", "w_t") else (units,)
        for i, tensor in enumerate(tensors):
            check_parameter(f"{name}[{i}]", tensor, x, shape)
    if not w_h:
        return x
    if not has_kernel("highway", x):
        return reference.highway(x, w_h, b_h, w_t, b_t)
    if not torch.is_grad_enabled():
        return _forward(x, w_h, b_h, w_t, b_t)[0][-1]
    result: Tensor = _Highway.apply(x, len(w_h), *w_h, *b_h, *w_t, *b_t)
    return result
