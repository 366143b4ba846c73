"""All layers of a highway network in one call of the compiled library for each direction.

Parameters and their gradients are float32 there, or float64 for float64 features.
"""

import torch
from torch import Tensor

from fastser_kernels.native.calls import FLAG, INPUT, INPUTS, INT, OUTPUT, OUTPUTS, NativeFunction, threads_for
from fastser_kernels.registration import accumulation_dtype

Tensors = list[Tensor]

_forward = NativeFunction(
    "highway_forward",
    x=INPUT,
    w_h=INPUTS,
    b_h=INPUTS,
    w_t=INPUTS,
    b_t=INPUTS,
    results=OUTPUTS,
    hidden=OUTPUTS,
    gates=OUTPUTS,
    samples=INT,
    units=INT,
    layers=INT,
)
_backward = NativeFunction(
    "highway_backward",
    grad=INPUT,
    inputs=INPUTS,
    hidden=INPUTS,
    gates=INPUTS,
    w_h=INPUTS,
    w_t=INPUTS,
    grad_x=OUTPUT,
    grad_w_h=OUTPUTS,
    grad_b_h=OUTPUTS,
    grad_w_t=OUTPUTS,
    grad_b_t=OUTPUTS,
    samples=INT,
    units=INT,
    layers=INT,
    input_only=FLAG,
)


def forward(x: Tensor, w_h: Tensors, b_h: Tensors, w_t: Tensors, b_t: Tensors) -> tuple[Tensors, Tensors, Tensors]:
    """Return result, hidden units and gates `[N, U]` of every layer."""
    exact, (samples, units) = accumulation_dtype(x), x.shape
    results, hidden, gates = ([x.new_empty(samples, units) for _ in w_h] for _ in range(3))
    _forward(
        x.dtype,
        x=x.contiguous(),
        w_h=_exact(w_h, exact),
        b_h=_exact(b_h, exact),
        w_t=_exact(w_t, exact),
        b_t=_exact(b_t, exact),
        results=results,
        hidden=hidden,
        gates=gates,
        samples=samples,
        units=units,
        layers=len(w_h),
        threads=_threads(samples, units, len(w_h)),
    )
    return results, hidden, gates


def backward(
    grad: Tensor, inputs: Tensors, hidden: Tensors, gates: Tensors, w_h: Tensors, w_t: Tensors, input_only: bool
) -> tuple[Tensor, Tensors, Tensors, Tensors, Tensors]:
    """Return the gradients of x and, unless `input_only`, of w_h, b_h, w_t and b_t."""
    exact, (samples, units), learned = accumulation_dtype(grad), grad.shape, [] if input_only else w_h
    grad_x = grad.new_empty(samples, units)
    grad_w_h, grad_w_t = ([w.new_empty(units, units, dtype=exact) for w in learned] for _ in range(2))
    grad_b_h, grad_b_t = ([w.new_empty(units, dtype=exact) for w in learned] for _ in range(2))
    _backward(
        grad.dtype,
        grad=grad.contiguous(),
        inputs=[x.contiguous() for x in inputs],
        hidden=[h.contiguous() for h in hidden],
        gates=[t.contiguous() for t in gates],
        w_h=_exact(w_h, exact),
        w_t=_exact(w_t, exact),
        grad_x=grad_x,
        grad_w_h=grad_w_h,
        grad_b_h=grad_b_h,
        grad_w_t=grad_w_t,
        grad_b_t=grad_b_t,
        samples=samples,
        units=units,
        layers=len(w_h),
        input_only=input_only,
        threads=_threads(samples, units, len(w_h)),
    )
    if (dtype := w_h[0].dtype) != exact:
        grad_w_h, grad_b_h = [g.to(dtype) for g in grad_w_h], [g.to(dtype) for g in grad_b_h]
        grad_w_t, grad_b_t = [g.to(dtype) for g in grad_w_t], [g.to(dtype) for g in grad_b_t]
    return grad_x, grad_w_h, grad_b_h, grad_w_t, grad_b_t


def _exact(parameters: Tensors, dtype: torch.dtype) -> Tensors:
    """Return dense tensors of the dtype of the arithmetic. Calls of torch that change nothing would cost most here."""
    return [p if p.dtype == dtype and p.is_contiguous() else p.to(dtype).contiguous() for p in parameters]


def _threads(samples: int, units: int, layers: int) -> int:
    """Return the number of threads: one for fewer than half a million products."""
    return threads_for(2 * samples * units * units * layers, grain=2**19)
