"""Highway network: fully connected layers that learn how much of their input to carry on unchanged.

    t = sigmoid(x W_t' + b_t),    y = t * relu(x W_h' + b_h) + (1 - t) * x

Shapes: x and result `[N, U]`, weights `[U, U]` as nn.Linear. Source: Srivastava et al. 2015 (coupled gates).
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def highway(x: Tensor, w_h: list[Tensor], b_h: list[Tensor], w_t: list[Tensor], b_t: list[Tensor]) -> Tensor:
    """Run all layers of a highway network; entry i of each list belongs to layer i.

    Args:
        x: Features `[N, U]`.
        w_h: Weights `[U, U]` of the hidden units.
        b_h: Biases `[U]` of the hidden units.
        w_t: Weights `[U, U]` of the transform gates.
        b_t: Biases `[U]` of the transform gates.

    Returns:
        `[N, U]`.

    Raises:
        ValueError: If a weight has the wrong shape, or the lists differ in length.
    """
    if x.dim() != 2:
        raise ValueError(f"x must be [N, U], got {list(x.shape)}")
    for i, (hidden_weight, hidden_bias, gate_weight, gate_bias) in enumerate(zip(w_h, b_h, w_t, b_t, strict=True)):
        for name, weight in (("w_h", hidden_weight), ("w_t", gate_weight)):
            if list(weight.shape) != [x.shape[-1]] * 2:
                raise ValueError(f"{name}[{i}] must be [{x.shape[-1]}, {x.shape[-1]}], got {list(weight.shape)}")
        gate = torch.sigmoid(F.linear(x, gate_weight, gate_bias))
        x = torch.lerp(x, F.relu(F.linear(x, hidden_weight, hidden_bias)), gate)
    return x
