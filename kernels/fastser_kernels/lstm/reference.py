"""One direction of one LSTM layer in plain PyTorch."""

import torch
from torch import Tensor


def lstm(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, reverse: bool) -> Tensor:
    """Return the result of `fastser_kernels.lstm` by the function behind nn.LSTM; parameters are cast to x.dtype."""
    state = x.new_zeros(1, x.shape[0], w_hh.shape[1])
    parameters = [parameter.to(x.dtype) for parameter in (w_ih, w_hh, b_ih, b_hh)]
    steps = x.flip(1) if reverse else x
    hidden, _, _ = torch.lstm(steps, (state, state), parameters, True, 1, 0.0, True, False, True)
    return hidden.flip(1) if reverse else hidden


def recurrence(projected: Tensor, w_hh: Tensor, reverse: bool) -> Tensor:
    """Return the hidden states `[T, N, H]` for a projection `[T, N, 4H]`, step by step.

    In contrast to the function behind nn.LSTM, every step has all derivatives and runs under torch.vmap.
    """
    steps = projected.unbind(0)
    hidden = cell = torch.zeros_like(steps[0][:, : w_hh.shape[1]])
    states = []
    for step in reversed(steps) if reverse else steps:
        i, f, g, o = torch.addmm(step, hidden, w_hh.t()).chunk(4, dim=1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        states.append(hidden)
    return torch.stack(states[::-1] if reverse else states)
