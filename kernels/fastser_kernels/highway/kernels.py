"""Triton kernels of the highway network.

Each layer is one launch. A batch has few rows, so the columns of a layer must be spread over the GPU too. One launch
for all layers would first copy the weights into one tensor, which takes more launches than it saves. In the backward
pass, a second launch per layer computes the gradients of its parameters. All other arithmetic is fused with the matrix
products, and only results are written. Any number of units is allowed.
"""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.launch import dot, fp32_precision, launch, relu

LAYER: dict[str, Any] = {"BLOCK_M": 16, "BLOCK_N": 32, "BLOCK_K": 64, "num_warps": 4, "num_stages": 2}
"""Tile of a layer's result or its input's gradient, small so that small batches fill a GPU."""

WEIGHT: dict[str, Any] = {"BLOCK_M": 16, "BLOCK_N": 32, "BLOCK_K": 32, "num_warps": 4, "num_stages": 3}
"""Tile of a weight's gradient; its depth runs over the rows of the batch. Wider tiles spill registers on some GPU."""


@triton.jit(do_not_specialize=["N"])
def layer_kernel(
    x_ptr,
    w_h_ptr,
    b_h_ptr,
    w_t_ptr,
    b_t_ptr,
    y_ptr,
    hidden_ptr,
    gate_ptr,
    N,
    U,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    dtype = x_ptr.dtype.element_ty
    m = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    hidden = tl.zeros((BLOCK_M, BLOCK_N), tl.float32) + tl.load(b_h_ptr + n, mask=n < U, other=0.0).to(tl.float32)
    gate = tl.zeros((BLOCK_M, BLOCK_N), tl.float32) + tl.load(b_t_ptr + n, mask=n < U, other=0.0).to(tl.float32)
    for start in range(0, U, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        x = tl.load(x_ptr + m[:, None] * U + k, mask=(m < N)[:, None] & (k < U), other=0.0)
        # [BLOCK_K, BLOCK_N]: the transposed weights
        at = n[None, :].to(tl.int64) * U + k[:, None]
        inside = (n < U)[None, :] & (k < U)[:, None]
        hidden = dot(x, tl.load(w_h_ptr + at, mask=inside, other=0.0).to(dtype), hidden, PRECISION)
        gate = dot(x, tl.load(w_t_ptr + at, mask=inside, other=0.0).to(dtype), gate, PRECISION)
    hidden = relu(hidden)
    gate = tl.sigmoid(gate)
    at = m[:, None] * U + n
    inside = (m < N)[:, None] & (n < U)
    x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(y_ptr + at, (x + gate * (hidden - x)).to(dtype), mask=inside)
    tl.store(hidden_ptr + at, hidden.to(dtype), mask=inside)
    tl.store(gate_ptr + at, gate.to(dtype), mask=inside)


@triton.jit
def _slopes(grad_ptr, x_ptr, hidden_ptr, gate_ptr, at, inside):
    """Return the gradients of the hidden units before ReLU and of the gates before the sigmoid."""
    grad = tl.load(grad_ptr + at, mask=inside, other=0.0).to(tl.float32)
    x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
    hidden = tl.load(hidden_ptr + at, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(gate_ptr + at, mask=inside, other=0.0).to(tl.float32)
    passed = grad * gate
    return tl.where(hidden > 0.0, passed, 0.0), passed * (1.0 - gate) * (hidden - x)


@triton.jit(do_not_specialize=["N"])
def layer_backward_kernel(
    grad_ptr,
    x_ptr,
    hidden_ptr,
    gate_ptr,
    w_h_ptr,
    w_t_ptr,
    grad_x_ptr,
    N,
    U,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    dtype = x_ptr.dtype.element_ty
    m = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    at = m[:, None] * U + n
    inside = (m < N)[:, None] & (n < U)
    carry = 1.0 - tl.load(gate_ptr + at, mask=inside, other=0.0).to(tl.float32)
    grad_x = carry * tl.load(grad_ptr + at, mask=inside, other=0.0).to(tl.float32)
    for start in range(0, U, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        across = (m < N)[:, None] & (k < U)
        hidden, gate = _slopes(grad_ptr, x_ptr, hidden_ptr, gate_ptr, m[:, None] * U + k, across)
        weight_at = k[:, None].to(tl.int64) * U + n
        weight_inside = (k < U)[:, None] & (n < U)
        grad_x = dot(hidden, tl.load(w_h_ptr + weight_at, mask=weight_inside, other=0.0).to(dtype), grad_x, PRECISION)
        grad_x = dot(gate, tl.load(w_t_ptr + weight_at, mask=weight_inside, other=0.0).to(dtype), grad_x, PRECISION)
    tl.store(grad_x_ptr + at, grad_x.to(dtype), mask=inside)


@triton.jit(do_not_specialize=["N"])
def parameters_backward_kernel(
    grad_ptr,
    x_ptr,
    hidden_ptr,
    gate_ptr,
    w_h_ptr,
    b_h_ptr,
    w_t_ptr,
    b_t_ptr,
    N,
    U,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    w_h = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    w_t = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    b_h = tl.zeros((BLOCK_M,), tl.float32)
    b_t = tl.zeros((BLOCK_M,), tl.float32)
    for start in range(0, N, BLOCK_K):
        k = (start + tl.arange(0, BLOCK_K)).to(tl.int64)
        # [BLOCK_M, BLOCK_K]: transposed
        at = k[None, :] * U + m[:, None]
        hidden, gate = _slopes(grad_ptr, x_ptr, hidden_ptr, gate_ptr, at, (m < U)[:, None] & (k < N)[None, :])
        x = tl.load(x_ptr + k[:, None] * U + n, mask=(k < N)[:, None] & (n < U), other=0.0)
        w_h = dot(hidden, x, w_h, PRECISION)
        w_t = dot(gate, x, w_t, PRECISION)
        b_h += tl.sum(hidden, axis=1)
        b_t += tl.sum(gate, axis=1)
    dtype = w_h_ptr.dtype.element_ty
    at = m[:, None].to(tl.int64) * U + n
    inside = (m < U)[:, None] & (n < U)
    tl.store(w_h_ptr + at, w_h.to(dtype), mask=inside)
    tl.store(w_t_ptr + at, w_t.to(dtype), mask=inside)
    first = (m < U) & (tl.program_id(1) == 0)
    tl.store(b_h_ptr + m, b_h.to(dtype), mask=first)
    tl.store(b_t_ptr + m, b_t.to(dtype), mask=first)


def _grid(rows: int, columns: int, configuration: dict[str, Any]) -> tuple[int, int]:
    return triton.cdiv(rows, configuration["BLOCK_M"]), triton.cdiv(columns, configuration["BLOCK_N"])


def forward(
    x: Tensor, w_h: list[Tensor], b_h: list[Tensor], w_t: list[Tensor], b_t: list[Tensor]
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Launch layer after layer. A tensor that is not contiguous is copied first."""
    N, U = x.shape
    grid, precision = _grid(N, U, LAYER), fp32_precision()
    results, hidden, gates = ([x.new_empty(N, U) for _ in w_h] for _ in range(3))
    for i in range(len(w_h)):
        launch(
            layer_kernel,
            grid,
            x_ptr=(results[i - 1] if i else x).contiguous(),  # [N, U]
            w_h_ptr=w_h[i].contiguous(),  # [U, U]
            b_h_ptr=b_h[i].contiguous(),  # [U]
            w_t_ptr=w_t[i].contiguous(),  # [U, U]
            b_t_ptr=b_t[i].contiguous(),  # [U]
            y_ptr=results[i],  # [N, U]
            hidden_ptr=hidden[i],  # [N, U]
            gate_ptr=gates[i],  # [N, U]
            N=N,
            U=U,
            PRECISION=precision,
            **LAYER,
        )
    return results, hidden, gates


def backward(
    grad: Tensor,
    inputs: list[Tensor],
    hidden: list[Tensor],
    gates: list[Tensor],
    w_h: list[Tensor],
    w_t: list[Tensor],
    input_only: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    """Launch layer after layer, from the last to the first. A tensor that is not contiguous is copied first."""
    N, U = grad.shape
    layer_grid, weight_grid, precision = _grid(N, U, LAYER), _grid(U, U, WEIGHT), fp32_precision()
    grad_w_h, grad_b_h, grad_w_t, grad_b_t = (
        [w.new_empty(shape) for w in w_h if not input_only] for shape in ((U, U), (U,), (U, U), (U,))
    )
    for i in reversed(range(len(w_h))):
        read: dict[str, Any] = {
            "grad_ptr": grad.contiguous(),  # [N, U]
            "x_ptr": inputs[i].contiguous(),  # [N, U]
            "hidden_ptr": hidden[i].contiguous(),  # [N, U]
            "gate_ptr": gates[i].contiguous(),  # [N, U]
        }
        if not input_only:
            launch(
                parameters_backward_kernel,
                weight_grid,
                **read,
                w_h_ptr=grad_w_h[i],  # [U, U]
                b_h_ptr=grad_b_h[i],  # [U]
                w_t_ptr=grad_w_t[i],  # [U, U]
                b_t_ptr=grad_b_t[i],  # [U]
                N=N,
                U=U,
                PRECISION=precision,
                **WEIGHT,
            )
        grad = grad.new_empty(N, U)
        launch(
            layer_backward_kernel,
            layer_grid,
            **read,
            w_h_ptr=w_h[i].contiguous(),  # [U, U]
            w_t_ptr=w_t[i].contiguous(),  # [U, U]
            grad_x_ptr=grad,  # [N, U]
            N=N,
            U=U,
            PRECISION=precision,
            **LAYER,
        )
    return grad, grad_w_h, grad_b_h, grad_w_t, grad_b_t
