"""BN, ReLU and the mean of cells of maps in one call of the compiled library: side 1 for maps, side 2 for 2x2 pooling.

Maps are `[N, C, T, F]`. The formulas stand in `transition/op.py`.
"""

import torch
from torch import Tensor

from fastser_kernels.native.calls import FLAG, FLOAT, INPUT, INT, OUTPUT, NativeFunction, threads_for
from fastser_kernels.registration import accumulation_dtype

_forward = NativeFunction(
    "norm_pool_forward",
    x=INPUT,
    bn_weight=INPUT,
    bn_bias=INPUT,
    running_mean=INPUT,
    running_var=INPUT,
    pooled=OUTPUT,
    mean=OUTPUT,
    var=OUTPUT,
    images=INT,
    rows=INT,
    columns=INT,
    channels=INT,
    side=INT,
    training=FLAG,
    eps=FLOAT,
)

_backward = NativeFunction(
    "norm_pool_backward",
    grad=INPUT,
    x=INPUT,
    mean=INPUT,
    var=INPUT,
    bn_weight=INPUT,
    bn_bias=INPUT,
    running_mean=INPUT,
    running_var=INPUT,
    grad_x=OUTPUT,
    grad_weight=OUTPUT,
    grad_bias=OUTPUT,
    of_image=INT,
    of_row=INT,
    of_column=INT,
    images=INT,
    rows=INT,
    columns=INT,
    channels=INT,
    side=INT,
    training=FLAG,
    eps=FLOAT,
)


def forward(
    x: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    side: int,
    training: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the means of all cells, and mean and variance of the batch (`[0]` in eval mode)."""
    (n, channels, t, f), exact = x.shape, accumulation_dtype(x)
    shape = n, channels, t // side, f // side
    pooled = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    mean, var = (x.new_empty(channels if training else 0, dtype=exact) for _ in range(2))
    _forward(
        x.dtype,
        x=_dense(x),
        bn_weight=_exact(bn_weight, exact),
        bn_bias=_exact(bn_bias, exact),
        running_mean=_exact(running_mean, exact),
        running_var=_exact(running_var, exact),
        pooled=pooled,
        mean=mean,
        var=var,
        images=n,
        rows=t,
        columns=f,
        channels=channels,
        side=side,
        training=training,
        eps=eps,
        threads=threads_for(x.numel()),
    )
    return pooled, mean, var


def backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    side: int,
    training: bool,
    eps: float,
    input_only: bool,
) -> tuple[Tensor, list[Tensor]]:
    """Return the gradient of `x`, and those of scale and shift unless `input_only`."""
    (n, channels, t, f), exact = x.shape, accumulation_dtype(x)
    grad_x = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    gradients = [] if input_only else [x.new_empty(channels, dtype=exact) for _ in range(2)]
    grad_weight, grad_bias = gradients or (None, None)
    if grad.stride(1) != 1:
        grad = grad.contiguous(memory_format=torch.channels_last)
    of_image, _, of_row, of_column = grad.stride()
    _backward(
        x.dtype,
        grad=grad,
        x=_dense(x),
        mean=mean,
        var=var,
        bn_weight=_exact(bn_weight, exact),
        bn_bias=_exact(bn_bias, exact),
        running_mean=_exact(running_mean, exact),
        running_var=_exact(running_var, exact),
        grad_x=grad_x,
        grad_weight=grad_weight,
        grad_bias=grad_bias,
        of_image=of_image,
        of_row=of_row,
        of_column=of_column,
        images=n,
        rows=t,
        columns=f,
        channels=channels,
        side=side,
        training=training,
        eps=eps,
        threads=threads_for(x.numel()),
    )
    return grad_x, [gradient.to(bn_weight.dtype) for gradient in gradients]


def _exact(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Return a parameter as a dense tensor of the dtype of the arithmetic."""
    return None if tensor is None else tensor.to(dtype).contiguous()


def _dense(maps: Tensor) -> Tensor:
    """Return maps `[N, C, T, F]` dense in the order N, T, F, C, whatever PyTorch takes for channels_last."""
    return maps.permute(0, 2, 3, 1).contiguous()
