"""The highway network in plain PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor


def highway(x: Tensor, w_h: list[Tensor], b_h: list[Tensor], w_t: list[Tensor], b_t: list[Tensor]) -> Tensor:
    """Return the result of `fastser_kernels.highway`, differentiable by autograd; parameters are cast to x.dtype."""
    for parameters in zip(w_h, b_h, w_t, b_t, strict=True):
        hidden_weight, hidden_bias, gate_weight, gate_bias = (p.to(x.dtype) for p in parameters)
        gate = torch.sigmoid(F.linear(x, gate_weight, gate_bias))
        x = torch.lerp(x, F.relu(F.linear(x, hidden_weight, hidden_bias)), gate)
    return x
