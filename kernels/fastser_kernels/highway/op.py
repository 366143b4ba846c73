"""Highway network: fully connected layers that learn how much of their input to carry on unchanged.

    t = sigmoid(x W_t' + b_t),    h = relu(x W_h' + b_h),    y = t h + (1 - t) x

With q the gradient of y, a layer's gradients before ReLU and sigmoid, and that of its input, are

    dh = q t [h > 0],    dt = q (h - x) t (1 - t),    dx = q (1 - t) + dh W_h + dt W_t

and dW_h = dh' x, db_h = sum dh (W_t, b_t likewise). For backward every layer keeps x, h and t, as autograd does: to
compute h and t again would be a third more arithmetic, to save memory that is little beside the maps of a convolution.
Shapes: x and result `[N, U]`, weights `[U, U]` as nn.Linear. Source: Srivastava et al. 2015 (coupled gates).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fastser_kernels.checks import check_floating, check_number, check_parameter, check_shape
from fastser_kernels.highway import cpu, reference
from fastser_kernels.registration import has_kernel, register


def _fake_forward(
    x: Tensor,
    w_h: list[Tensor],
    b_h: list[Tensor],
    w_t: list[Tensor],
    b_t: list[Tensor],
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    results, hidden, gates = ([x.new_empty(x.shape) for _ in w_h] for _ in range(3))
    return results, hidden, gates


def _fake_backward(
    grad: Tensor,
    inputs: list[Tensor],
    hidden: list[Tensor],
    gates: list[Tensor],
    w_h: list[Tensor],
    w_t: list[Tensor],
    input_only: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    frozen = w_h if not input_only else []
    w, b = ([parameter.new_empty(parameter.shape[:dims]) for parameter in frozen * 2] for dims in (2, 1))
    return grad.new_empty(grad.shape), w[: len(frozen)], b[: len(frozen)], w[len(frozen) :], b[len(frozen) :]


_forward = register(
    "highway_forward(Tensor x, Tensor[] w_h, Tensor[] b_h, Tensor[] w_t, Tensor[] b_t) "
    "-> (Tensor[] results, Tensor[] hidden, Tensor[] gates)",
    cpu=cpu.forward,
    triton="highway.kernels:forward",
    fake=_fake_forward,
)
_backward = register(
    "highway_backward(Tensor grad, Tensor[] inputs, Tensor[] hidden, Tensor[] gates, Tensor[] w_h, Tensor[] w_t, "
    "bool input_only) -> (Tensor grad_x, Tensor[] grad_w_h, Tensor[] grad_b_h, Tensor[] grad_w_t, Tensor[] grad_b_t)",
    cpu=cpu.backward,
    triton="highway.kernels:backward",
    fake=_fake_backward,
)


def ideal_bytes(rows: int, units: int, layers: int, itemsize: int, *, backward: bool) -> int:
    """Bytes that must be moved.

    Forward: x and the parameters read, the result and three states per layer written. Backward to everything: the
    result's gradient, states and weights read, the gradients of x and of the parameters written.
    """
    features, weights, biases = rows * units, 2 * layers * units * units, 2 * layers * units
    return itemsize * ((2 + 3 * layers) * features + (2 if backward else 1) * weights + biases)


def ideal_flops(rows: int, units: int, layers: int, *, backward: bool) -> int:
    """Multiplications and additions of the matrix products; backward to everything."""
    return (8 if backward else 4) * rows * units * units * layers


class _Highway(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: int, *parameters: Tensor) -> Tensor:
        w_h, b_h, w_t, b_t = (list(parameters[i : i + layers]) for i in range(0, 4 * layers, layers))
        results, hidden, gates = _forward(x, w_h, b_h, w_t, b_t)
        ctx.save_for_backward(x, *results[:-1], *hidden, *gates, *w_h, *w_t)
        ctx.layers = layers
        result: Tensor = results[-1]
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        layers, saved = ctx.layers, ctx.saved_tensors
        input_only = not any(ctx.needs_input_grad[2:])
        lists = (list(saved[i : i + layers]) for i in range(0, 5 * layers, layers))
        grad_x, w_h, b_h, w_t, b_t = _backward(grad, *lists, input_only)
        return (grad_x, None, *([None] * (4 * layers) if input_only else [*w_h, *b_h, *w_t, *b_t]))


def highway(x: Tensor, w_h: list[Tensor], b_h: list[Tensor], w_t: list[Tensor], b_t: list[Tensor]) -> Tensor:
    """Run all layers of a highway network; entry i of each list belongs to layer i.

    Args:
        x: Features `[N, U]`, floating point.
        w_h: Weights `[U, U]` of the hidden units, of the dtype of `x` or, where that is float16 or bfloat16, float32;
            as all that follow.
        b_h: Biases `[U]` of the hidden units.
        w_t: Weights `[U, U]` of the transform gates.
        b_t: Biases `[U]` of the transform gates.

    Returns:
        `[N, U]` in the dtype of `x`.

    Raises:
        ValueError: If a tensor has the wrong shape or device, or the lists differ in length.
        TypeError: If a tensor has the wrong dtype.
    """
    check_shape("x", x, ["N", "U"])
    check_floating("x", x)
    lists = {"w_h": w_h, "b_h": b_h, "w_t": w_t, "b_t": b_t}
    units = x.shape[1]
    for name, tensors in lists.items():
        check_number(name, tensors, len(w_h), of="w_h")
        shape = (units, units) if name[0] == "w" else (units,)
        for i, tensor in enumerate(tensors):
            check_parameter(f"{name}[{i}]", tensor, x, shape)
    if not w_h:
        return x
    if not has_kernel(x):
        return reference.highway(x, w_h, b_h, w_t, b_t)
    result: Tensor = _Highway.apply(x, len(w_h), *w_h, *b_h, *w_t, *b_t)
    return result
