"""One direction of one LSTM layer as a loop over time."""

import torch
import torch.nn.functional as F
from torch import Tensor


def lstm(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, reverse: bool) -> Tensor:
    """What `fastser_kernels.lstm` computes, differentiable; the cell in float32 or wider."""
    steps = F.linear(x, w_ih.to(x.dtype), (b_ih + b_hh).to(x.dtype)).unbind(1)
    h = x.new_zeros(x.shape[0], w_hh.shape[1])
    cell = h.to(torch.promote_types(x.dtype, torch.float32))
    hidden = []
    for step in reversed(steps) if reverse else steps:
        i, f, g, o = (step + F.linear(h, w_hh.to(x.dtype))).chunk(4, dim=1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        h = (o.sigmoid() * cell.tanh()).to(x.dtype)
        hidden.append(h)
    return torch.stack(hidden[::-1] if reverse else hidden, dim=1)
