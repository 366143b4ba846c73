"""The LSTM's recurrence in one call of the compiled library for each direction of computation."""

from torch import Tensor

from fastser_kernels.native.calls import FLAG, INPUT, INT, OUTPUT, NativeFunction, threads_for
from fastser_kernels.registration import accumulation_dtype

_forward = NativeFunction(
    "lstm_forward",
    projected=INPUT,
    w_hh=INPUT,
    hidden=OUTPUT,
    gates=OUTPUT,
    cell=OUTPUT,
    steps=INT,
    batch=INT,
    units=INT,
    stride_t=INT,
    stride_n=INT,
    reverse=FLAG,
)
_backward = NativeFunction(
    "lstm_backward",
    grad_hidden=INPUT,
    w_hh=INPUT,
    gates=INPUT,
    cell=INPUT,
    grad_projected=OUTPUT,
    steps=INT,
    batch=INT,
    units=INT,
    stride_t=INT,
    stride_n=INT,
    reverse=FLAG,
)


def forward(projected: Tensor, w_hh: Tensor, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the hidden states, gates and cells of all steps."""
    (steps, batch, gate_units), units = projected.shape, w_hh.shape[1]
    projected = _rows(projected)
    hidden, gates = projected.new_empty(steps, batch, units), projected.new_empty(steps, batch, gate_units)
    cell = projected.new_empty(steps, batch, units, dtype=accumulation_dtype(projected))
    stride_t, stride_n, _ = projected.stride()
    _forward(
        projected.dtype,
        projected=projected,
        w_hh=w_hh.contiguous(),
        hidden=hidden,
        gates=gates,
        cell=cell,
        steps=steps,
        batch=batch,
        units=units,
        stride_t=stride_t,
        stride_n=stride_n,
        reverse=reverse,
        threads=_threads(steps, batch, units),
    )
    return hidden, gates, cell


def backward(grad_hidden: Tensor, w_hh: Tensor, gates: Tensor, cell: Tensor, reverse: bool) -> Tensor:
    """Return the gradient of `projected`."""
    steps, batch, units = cell.shape
    grad_hidden = _rows(grad_hidden)
    grad_projected = gates.new_empty(gates.shape)
    stride_t, stride_n, _ = grad_hidden.stride()
    _backward(
        gates.dtype,
        grad_hidden=grad_hidden,
        w_hh=w_hh.contiguous(),
        gates=gates.contiguous(),
        cell=cell.contiguous(),
        grad_projected=grad_projected,
        steps=steps,
        batch=batch,
        units=units,
        stride_t=stride_t,
        stride_n=stride_n,
        reverse=reverse,
        threads=_threads(steps, batch, units),
    )
    return grad_projected


def _rows(per_step: Tensor) -> Tensor:
    """Return a tensor whose units are adjacent in memory."""
    return per_step if per_step.stride(2) == 1 else per_step.contiguous()


def _threads(steps: int, batch: int, units: int) -> int:
    """Return the number of threads: at most one per sample, and one for fewer than a million products."""
    return min(threads_for(4 * steps * batch * units * units, grain=2**20), max(batch, 1))
