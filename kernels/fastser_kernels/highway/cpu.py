"""The highway network in ATen calls. 16-bit types are computed in float32."""

import torch
from torch import Tensor

from fastser_kernels.registration import accumulation_dtype

Tensors = list[Tensor]

_relu_backward = torch.ops.aten.threshold_backward.default
_sigmoid_backward = torch.ops.aten.sigmoid_backward.default


def _all_to(dtype: torch.dtype, *lists: Tensors) -> list[Tensors]:
    return [[tensor.to(dtype) for tensor in tensors] for tensors in lists]


def forward(x: Tensor, w_h: Tensors, b_h: Tensors, w_t: Tensors, b_t: Tensors) -> tuple[Tensors, Tensors, Tensors]:
    """Return result, hidden units and gates `[N, U]` of every layer."""
    dtype, computed = x.dtype, accumulation_dtype(x)
    if not dtype == w_h[0].dtype == computed:
        x, (w_h, b_h, w_t, b_t) = x.to(computed), _all_to(computed, w_h, b_h, w_t, b_t)
    results, all_hidden, gates = [], [], []
    for hidden_weight, hidden_bias, gate_weight, gate_bias in zip(w_h, b_h, w_t, b_t, strict=True):
        hidden = torch.addmm(hidden_bias, x, hidden_weight.t()).relu_()
        gate = torch.addmm(gate_bias, x, gate_weight.t()).sigmoid_()
        x = torch.lerp(x, hidden, gate)
        results.append(x)
        all_hidden.append(hidden)
        gates.append(gate)
    if dtype != computed:
        results, all_hidden, gates = _all_to(dtype, results, all_hidden, gates)
    return results, all_hidden, gates


def backward(
    grad: Tensor, inputs: Tensors, hidden: Tensors, gates: Tensors, w_h: Tensors, w_t: Tensors, input_only: bool
) -> tuple[Tensor, Tensors, Tensors, Tensors, Tensors]:
    """Return the gradients of x and, unless `input_only`, of w_h, b_h, w_t and b_t."""
    dtype, parameter_dtype = grad.dtype, w_h[0].dtype
    computed = accumulation_dtype(grad)
    if not dtype == parameter_dtype == computed:
        inputs, hidden, gates, w_h, w_t = _all_to(computed, inputs, hidden, gates, w_h, w_t)
        grad = grad.to(computed)
    grad_w_h, grad_b_h, grad_w_t, grad_b_t = (Tensors() for _ in range(4))
    for i in reversed(range(len(w_h))):
        passed = grad * gates[i]
        grad_hidden = _relu_backward(passed, hidden[i], 0)
        grad_gate = _sigmoid_backward(torch.sub(hidden[i], inputs[i]).mul_(grad), gates[i])
        if not input_only:
            grad_w_h.append(torch.mm(grad_hidden.t(), inputs[i]))
            grad_b_h.append(grad_hidden.sum(0))
            grad_w_t.append(torch.mm(grad_gate.t(), inputs[i]))
            grad_b_t.append(grad_gate.sum(0))
        grad = (grad - passed).addmm_(grad_hidden, w_h[i]).addmm_(grad_gate, w_t[i])
    if parameter_dtype != computed:
        grad_w_h, grad_b_h, grad_w_t, grad_b_t = _all_to(parameter_dtype, grad_w_h, grad_b_h, grad_w_t, grad_b_t)
    return grad.to(dtype), grad_w_h[::-1], grad_b_h[::-1], grad_w_t[::-1], grad_b_t[::-1]
