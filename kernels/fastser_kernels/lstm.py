"""Long short-term memory, one direction of one layer, gates in the order i, f, g, o of nn.LSTM.

    [i f g o]_t = [sigmoid sigmoid tanh sigmoid](x_t W_ih' + b_ih + b_hh + h_{t-1} W_hh')
    c_t = f_t c_{t-1} + i_t g_t,    h_t = o_t tanh(c_t),    h_0 = c_0 = 0

The input projection is one matrix product over all steps, and autograd's business. Only the recurrence, a loop over
time, is an operation of its own, opaque to torch.compile; it is time-major: projected `[T, N, 4H]`, hidden `[T, N, H]`.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_LIBRARY = torch.library.Library("fastser_kernels", "FRAGMENT")
_LIBRARY.define(
    "lstm_recurrence(Tensor projected, Tensor w_hh, bool reverse) -> (Tensor hidden, Tensor gates, Tensor cell)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_LIBRARY.define(
    "lstm_recurrence_backward(Tensor grad_hidden, Tensor w_hh, Tensor gates, Tensor cell, bool reverse) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def lstm(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, reverse: bool) -> Tensor:
    """Run one direction of one LSTM layer from a zero state; no dependence on training or eval mode on any device.

    Args:
        x: Sequences `[N, T, I]`, floating point.
        w_ih: `[4H, I]`.
        w_hh: `[4H, H]`.
        b_ih: `[4H]`.
        b_hh: `[4H]`.
        reverse: Go from the last step to the first.

    Returns:
        Hidden states `[N, T, H]`, entry t belonging to step t in both directions.

    Raises:
        ValueError: If a shape is wrong.
    """
    if x.dim() != 3:
        raise ValueError(f"x must be [N, T, I], got {list(x.shape)}")
    gates = 4 * w_hh.shape[1]
    expected = {"w_ih": (w_ih, [gates, x.shape[2]]), "w_hh": (w_hh, [gates, w_hh.shape[1]])}
    for name, (tensor, shape) in (expected | {"b_ih": (b_ih, [gates]), "b_hh": (b_hh, [gates])}).items():
        if list(tensor.shape) != shape:
            raise ValueError(f"{name} must be {shape}, got {list(tensor.shape)}")
    projected = F.linear(x, w_ih, b_ih + b_hh)
    hidden: Tensor = _Recurrence.apply(projected.transpose(0, 1), w_hh, reverse)
    return hidden.transpose(0, 1)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor, w_hh: Tensor, reverse: bool) -> Tensor:
        hidden, gates, cell = torch.ops.fastser_kernels.lstm_recurrence.default(projected, w_hh, reverse)
        ctx.save_for_backward(w_hh, hidden, gates, cell)
        ctx.reverse = reverse
        return hidden  # type: ignore[no-any-return]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_hidden: Tensor) -> tuple[Tensor, Tensor | None, None]:
        w_hh, hidden, gates, cell = ctx.saved_tensors
        operation = torch.ops.fastser_kernels.lstm_recurrence_backward.default
        grad_projected = operation(grad_hidden, w_hh, gates, cell, ctx.reverse)
        if not ctx.needs_input_grad[1]:
            return grad_projected, None, None
        later, earlier = (slice(-1), slice(1, None)) if ctx.reverse else (slice(1, None), slice(-1))
        grad_w_hh = grad_projected[later].flatten(0, 1).t() @ hidden[earlier].flatten(0, 1)
        return grad_projected, grad_w_hh, None


def _order(per_step: Tensor, reverse: bool) -> Iterable[Tensor]:
    """Views of the steps in the order of the recurrence."""
    steps = per_step.unbind(0)
    return reversed(steps) if reverse else steps


def _recurrence(projected: Tensor, w_hh: Tensor, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    num_steps, batch, units = projected.shape[0], projected.shape[1], w_hh.shape[1]
    gates = projected.clone(memory_format=torch.contiguous_format)
    hidden, cell = (gates.new_empty(num_steps, batch, units) for _ in range(2))
    h, c, w = gates.new_zeros(batch, units), gates.new_zeros(batch, units), w_hh.t()
    i, f, g, o = gates.chunk(4, dim=2)
    parts = (gates, gates[:, :, : 2 * units], i, f, g, o, cell, hidden)
    for gates_t, i_and_f, i_t, f_t, g_t, o_t, cell_t, hidden_t in zip(
        *(_order(p, reverse) for p in parts), strict=True
    ):
        gates_t.addmm_(h, w)
        i_and_f.sigmoid_()
        g_t.tanh_()
        o_t.sigmoid_()
        c = torch.mul(f_t, c, out=cell_t).addcmul_(i_t, g_t)
        h = torch.tanh(c, out=hidden_t).mul_(o_t)
    return hidden, gates, cell


def _recurrence_backward(grad_hidden: Tensor, w_hh: Tensor, gates: Tensor, cell: Tensor, reverse: bool) -> Tensor:
    units = cell.shape[2]
    i, f, g, o = gates.chunk(4, dim=2)
    tanh_cell = cell.tanh()
    previous = F.pad(cell[1:], (0, 0, 0, 0, 0, 1)) if reverse else F.pad(cell[:-1], (0, 0, 0, 0, 1, 0))
    # What does not depend on the gradient is computed for all steps at once.
    cell_per_hidden = o * (1 - tanh_cell.square())
    gate_per_cell = torch.stack([g * i * (1 - i), previous * f * (1 - f), i * (1 - g.square())], dim=2)
    output_per_hidden = tanh_cell * o * (1 - o)

    grad_projected = torch.empty_like(gates)
    grad_gates = grad_projected.unflatten(2, (4, units))
    later, grad_cell = torch.zeros_like(gates[0]), torch.zeros_like(cell[0])
    factors = (grad_hidden, f, cell_per_hidden, gate_per_cell, output_per_hidden)
    results = (grad_gates[:, :, :3], grad_gates[:, :, 3], grad_projected)
    for grad_t, f_t, cell_factor, gate_factor, output_factor, grad_ifg, grad_o, grad_t_all in zip(
        *(_order(p, not reverse) for p in factors + results), strict=True
    ):
        grad_h = torch.addmm(grad_t, later, w_hh)
        grad_cell.addcmul_(grad_h, cell_factor)
        torch.mul(gate_factor, grad_cell[:, None], out=grad_ifg)
        torch.mul(grad_h, output_factor, out=grad_o)
        grad_cell.mul_(f_t)
        later = grad_t_all
    return grad_projected


def _recurrence_fake(projected: Tensor, w_hh: Tensor, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ARG001
    num_steps, batch, units = projected.shape[0], projected.shape[1], w_hh.shape[1]
    hidden, cell = (projected.new_empty(num_steps, batch, units) for _ in range(2))
    return hidden, projected.new_empty(projected.shape), cell


def _recurrence_backward_fake(grad_hidden: Tensor, w_hh: Tensor, gates: Tensor, cell: Tensor, reverse: bool) -> Tensor:  # noqa: ARG001
    return torch.empty_like(gates)


_LIBRARY.impl("lstm_recurrence", _recurrence, "CompositeExplicitAutograd")
_LIBRARY.impl("lstm_recurrence_backward", _recurrence_backward, "CompositeExplicitAutograd")
torch.library.register_fake("fastser_kernels::lstm_recurrence", _recurrence_fake, lib=_LIBRARY)
torch.library.register_fake("fastser_kernels::lstm_recurrence_backward", _recurrence_backward_fake, lib=_LIBRARY)
