"""The LSTM's recurrence in ATen calls, step by step, for more units than the Triton kernels take.

16-bit input is computed in float32 and rounded once.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from fastser_kernels.registration import accumulation_dtype


def _order(per_step: Tensor, reverse: bool) -> Iterable[Tensor]:
    """Return views of the steps in the order of the recurrence."""
    steps = per_step.unbind(0)
    return reversed(steps) if reverse else steps


def forward(projected: Tensor, w_hh: Tensor, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the hidden states, gates and cells of all steps."""
    num_steps, batch, units = projected.shape[0], projected.shape[1], w_hh.shape[1]
    dtype = accumulation_dtype(projected)
    gates = projected.to(dtype, copy=True, memory_format=torch.contiguous_format)
    hidden, cell, candidates = (gates.new_empty(num_steps, batch, units) for _ in range(3))
    h, c, w = gates.new_zeros(batch, units), gates.new_zeros(batch, units), w_hh.to(dtype).t()
    i, f, g, o = gates.chunk(4, dim=2)
    parts = (gates, i, f, g, o, candidates, cell, hidden)
    for gates_t, i_t, f_t, g_t, o_t, candidate_t, cell_t, hidden_t in zip(
        *(_order(p, reverse) for p in parts), strict=True
    ):
        gates_t.addmm_(h, w)
        torch.tanh(g_t, out=candidate_t)
        gates_t.sigmoid_()  # g too, which is overwritten after the loop: this saves one call per step
        c = torch.mul(f_t, c, out=cell_t).addcmul_(i_t, candidate_t)
        h = torch.tanh(c, out=hidden_t).mul_(o_t)
    g.copy_(candidates)
    return hidden.to(projected.dtype), gates.to(projected.dtype), cell


def backward(grad_hidden: Tensor, w_hh: Tensor, gates: Tensor, cell: Tensor, reverse: bool) -> Tensor:
    """Return the gradient of `projected`."""
    units, dtype = cell.shape[2], gates.dtype
    grad_hidden, w_hh, gates = (t.to(cell.dtype) for t in (grad_hidden, w_hh, gates))
    i, f, g, o = gates.chunk(4, dim=2)
    tanh_cell = cell.tanh()
    previous = F.pad(cell[1:], (0, 0, 0, 0, 0, 1)) if reverse else F.pad(cell[:-1], (0, 0, 0, 0, 1, 0))
    # Factors that do not depend on the gradient are computed for all steps at once.
    cell_per_hidden = o * (1 - tanh_cell.square())
    gate_per_cell = torch.stack([g * i * (1 - i), previous * f * (1 - f), i * (1 - g.square())], dim=2)
    output_per_hidden = tanh_cell * o * (1 - o)

    grad_projected = torch.empty_like(gates)
    grad_gates = grad_projected.unflatten(2, (4, units))
    later, grad_cell = torch.zeros_like(gates[0]), torch.zeros_like(cell[0])
    grad_cell_per_gate = grad_cell[:, None]
    factors = (grad_hidden, f, cell_per_hidden, gate_per_cell, output_per_hidden)
    results = (grad_gates[:, :, :3], grad_gates[:, :, 3], grad_projected)
    for grad_t, f_t, cell_factor, gate_factor, output_factor, grad_ifg, grad_o, grad_t_all in zip(
        *(_order(p, not reverse) for p in factors + results), strict=True
    ):
        grad_h = torch.addmm(grad_t, later, w_hh)
        grad_cell.addcmul_(grad_h, cell_factor)
        torch.mul(gate_factor, grad_cell_per_gate, out=grad_ifg)
        torch.mul(grad_h, output_factor, out=grad_o)
        grad_cell.mul_(f_t)
        later = grad_t_all
    return grad_projected.to(dtype)
