"""Long short-term memory, one direction of one layer, gates in the order i, f, g, o of nn.LSTM.

    [i f g o]_t = [sigmoid sigmoid tanh sigmoid](x_t W_ih' + b_ih + b_hh + h_{t-1} W_hh')
    c_t = f_t c_{t-1} + i_t g_t,    h_t = o_t tanh(c_t),    h_0 = c_0 = 0

Backward, where dh_t is the gradient of h_t from its own step plus [di df dg do]_{t+1} W_hh, and di, df, dg and do are
the gradients of the gates before their activations:

    dc_t = dh_t o_t (1 - tanh(c_t)^2) + f_{t+1} dc_{t+1},    do_t = dh_t tanh(c_t) o_t (1 - o_t)
    di_t = dc_t g_t i_t (1 - i_t),    df_t = dc_t c_{t-1} f_t (1 - f_t),    dg_t = dc_t i_t (1 - g_t^2)

The input projection is one matrix product over all steps and belongs to autograd, as do the gradients of its input and
parameters. Only the recurrence, a loop over time, is an operation of its own, opaque to torch.compile. It is
time-major: projected and gates `[T, N, 4H]`, hidden `[T, N, H]` in the dtype of `x`, cell `[T, N, H]` in float32
(float64 for float64 input). On a GPU it is one launch for up to 256 units in 16 bits or 128 in float32. More units run
step by step. Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastser_kernels.checks import check_floating, check_parameter, check_shape
from fastser_kernels.lstm import native, reference
from fastser_kernels.registration import accumulation_dtype, has_kernel, operation
from fastser_kernels.transforms import backward_needs_aten, changeable, reference_gradients, transformed


@operation("lstm_recurrence", cpu=native.forward, triton="lstm.kernels:forward")
def _forward(projected: Tensor, w_hh: Tensor, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return hidden states, gates and cells."""
    hidden = projected.new_empty(projected.shape[0], projected.shape[1], w_hh.shape[1])
    cell = hidden.new_empty(hidden.shape, dtype=accumulation_dtype(hidden))
    return hidden, projected.new_empty(projected.shape), cell


@operation("lstm_recurrence_backward", cpu=native.backward, triton="lstm.kernels:backward")
def _backward(grad_hidden: Tensor, w_hh: Tensor, gates: Tensor, cell: Tensor, reverse: bool) -> Tensor:
    """Return the gradient of `projected`."""
    return gates.new_empty(gates.shape)


def ideal_bytes(shape: tuple[int, int, int], itemsize: int) -> int:
    """Return the bytes that the recurrence of `shape` (T, N, H) must move, equal for forward and backward.

    Forward: the projection and the weights read, gates, hidden states and (in float32) cells written. Backward: the
    gradient of the hidden states, weights, gates and cells read, the gradient of the projection written.
    """
    T, N, H = shape
    return (4 * H * H + 9 * T * N * H) * itemsize + T * N * H * max(itemsize, 4)


def ideal_flops(shape: tuple[int, int, int]) -> int:
    """Return the FLOPs of the product with `w_hh` for `shape` (T, N, H), equal for forward and backward."""
    T, N, H = shape
    return 8 * T * N * H * H


class _Recurrence(torch.autograd.Function):
    """The recurrence as a function of the projection and `w_hh`.

    `x`, `w_ih` and `bias` are what the projection was computed from. They get no gradient here. A backward pass that
    must be differentiable computes the projection again from them, because the projection itself is not saved.
    """

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, w_hh: Tensor, reverse: bool, x: Tensor, w_ih: Tensor, bias: Tensor
    ) -> Tensor:
        hidden, gates, cell = _forward(projected, w_hh, reverse)
        ctx.save_for_backward(w_hh, hidden, gates, cell, x, w_ih, bias)
        ctx.reverse = reverse
        return hidden

    @staticmethod
    def backward(ctx: Any, grad_hidden: Tensor) -> tuple[Tensor | None, ...]:
        w_hh, hidden, gates, cell, x, w_ih, bias = ctx.saved_tensors
        if backward_needs_aten(grad_hidden):
            with torch.enable_grad():
                projected = F.linear(x, w_ih, bias).transpose(0, 1)
            recurrence = partial(reference.recurrence, reverse=ctx.reverse)
            wanted = ctx.needs_input_grad[:2]
            return *reference_gradients(recurrence, [projected, w_hh], wanted, grad_hidden), *[None] * 4
        grad_projected = _backward(grad_hidden, w_hh, gates, cell, ctx.reverse)
        if not ctx.needs_input_grad[1]:
            return grad_projected, *[None] * 5
        all_but_last, all_but_first = slice(None, -1), slice(1, None)
        later, earlier = (all_but_last, all_but_first) if ctx.reverse else (all_but_first, all_but_last)
        grad_w_hh = grad_projected[later].flatten(0, 1).t() @ hidden[earlier].flatten(0, 1)
        return grad_projected, grad_w_hh, *[None] * 4


def lstm(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, reverse: bool) -> Tensor:
    """Run one direction of one LSTM layer from a zero state. Training and eval mode give the same result.

    Args:
        x: Sequences `[N, T, I]`, floating point, of at least one step.
        w_ih: Input weights `[4H, I]`. All parameters have the dtype of `x` or, for float16 and bfloat16 `x`, float32,
            and are used in the dtype of `x`.
        w_hh: Recurrent weights `[4H, H]`.
        b_ih: Input biases `[4H]`.
        b_hh: Recurrent biases `[4H]`.
        reverse: Go from the last step to the first.

    Returns:
        Hidden states `[N, T, H]` in the dtype of `x`. Entry t belongs to step t in both directions.

    Raises:
        ValueError: If a shape or a device is wrong.
        TypeError: If a tensor has the wrong dtype.

    Example:
        >>> import torch
        >>> from fastser_kernels import lstm
        >>> parameters = [p.detach() for p in torch.nn.LSTM(4, 5).parameters()]
        >>> lstm(torch.randn(2, 3, 4), *parameters, reverse=False).shape
        torch.Size([2, 3, 5])
    """
    check_shape("x", x, ["N", "T", "I"])
    check_floating("x", x)
    if x.shape[1] == 0:
        raise ValueError(f"x must have at least one step, got {list(x.shape)}")
    check_shape("w_hh", w_hh, ["4H", "H"])
    gates = 4 * w_hh.shape[1]
    check_parameter("w_ih", w_ih, x, (gates, x.shape[2]))
    check_parameter("w_hh", w_hh, x, (gates, w_hh.shape[1]))
    check_parameter("b_ih", b_ih, x, (gates,))
    check_parameter("b_hh", b_hh, x, (gates,))
    if not transformed() and not has_kernel("lstm", x):
        return changeable(reference.lstm(x, w_ih, w_hh, b_ih, b_hh, reverse))
    w_ih, bias = w_ih.to(x.dtype), (b_ih + b_hh).to(x.dtype)
    projected = F.linear(x, w_ih, bias).transpose(0, 1)
    w_hh = w_hh.to(projected.dtype)
    if transformed():
        return reference.recurrence(projected, w_hh, reverse).transpose(0, 1)
    if not torch.is_grad_enabled():
        return _forward(projected, w_hh, reverse)[0].transpose(0, 1)
    hidden: Tensor = _Recurrence.apply(projected, w_hh, reverse, x, w_ih, bias)
    return changeable(hidden).transpose(0, 1)
