"""A DenseBlock in one call of the compiled library for each direction."""

import torch
from torch import Tensor

from fastser_kernels.native.calls import FLAG, FLOAT, INPUT, INPUTS, INT, OUTPUT, OUTPUTS, NativeFunction, threads_for
from fastser_kernels.registration import accumulation_dtype

_forward = NativeFunction(
    "dense_block_forward",
    x=INPUT,
    maps=OUTPUT,
    mean=OUTPUT,
    var=OUTPUT,
    bn_weight=INPUTS,
    bn_bias=INPUTS,
    running_mean=INPUTS,
    running_var=INPUTS,
    kernels=INPUTS,
    images=INT,
    rows=INT,
    columns=INT,
    channels=INT,
    growth=INT,
    layers=INT,
    training=FLAG,
    eps=FLOAT,
)

_backward = NativeFunction(
    "dense_block_backward",
    grad_maps=INPUT,
    maps=INPUT,
    mean=INPUT,
    var=INPUT,
    bn_weight=INPUTS,
    bn_bias=INPUTS,
    running_mean=INPUTS,
    running_var=INPUTS,
    kernels=INPUTS,
    grad_x=OUTPUT,
    grad_weight=OUTPUTS,
    grad_bias=OUTPUTS,
    grad_kernel=OUTPUTS,
    images=INT,
    rows=INT,
    columns=INT,
    channels=INT,
    growth=INT,
    layers=INT,
    training=FLAG,
    eps=FLOAT,
    input_only=FLAG,
)


def forward(
    x: Tensor,
    bn_weight: list[Tensor],
    bn_bias: list[Tensor],
    running_mean: list[Tensor],
    running_var: list[Tensor],
    conv_weight: list[Tensor],
    training: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the maps of the whole block and, in training, mean and biased variance of all maps that a layer reads."""
    (n, channels, t, f), growth_rate, exact = x.shape, conv_weight[0].shape[0], accumulation_dtype(x)
    read = channels + (len(conv_weight) - 1) * growth_rate
    maps = torch.empty((n, read + growth_rate, t, f), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    mean, var = (x.new_empty(read if training else 0, dtype=exact) for _ in range(2))
    _forward(
        x.dtype,
        x=_dense(x),
        maps=maps,
        mean=mean,
        var=var,
        bn_weight=_exact(bn_weight, exact),
        bn_bias=_exact(bn_bias, exact),
        running_mean=_exact(running_mean, exact),
        running_var=_exact(running_var, exact),
        kernels=_exact(conv_weight, exact),
        images=n,
        rows=t,
        columns=f,
        channels=channels,
        growth=growth_rate,
        layers=len(conv_weight),
        training=training,
        eps=eps,
        threads=threads_for(maps.numel()),
    )
    return maps, mean, var


def backward(
    grad_maps: Tensor,
    maps: Tensor,
    mean: Tensor,
    var: Tensor,
    bn_weight: list[Tensor],
    bn_bias: list[Tensor],
    running_mean: list[Tensor],
    running_var: list[Tensor],
    conv_weight: list[Tensor],
    training: bool,
    eps: float,
    input_only: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Return the gradients of x, bn_weight, bn_bias and conv_weight; these lists are empty if `input_only`."""
    (n, _, t, f), (growth_rate, channels) = maps.shape, conv_weight[0].shape[:2]
    exact = accumulation_dtype(maps)
    grad_x = torch.empty((n, channels, t, f), dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last)
    learned = [] if input_only else [bn_weight, bn_bias, conv_weight]
    gradients = [[p.new_empty(p.shape, dtype=exact) for p in parameters] for parameters in learned]
    grad_weight, grad_bias, grad_kernel = gradients or ([], [], [])
    _backward(
        maps.dtype,
        grad_maps=_dense(grad_maps),
        maps=maps,
        mean=mean,
        var=var,
        bn_weight=_exact(bn_weight, exact),
        bn_bias=_exact(bn_bias, exact),
        running_mean=_exact(running_mean, exact),
        running_var=_exact(running_var, exact),
        kernels=_exact(conv_weight, exact),
        grad_x=grad_x,
        grad_weight=grad_weight,
        grad_bias=grad_bias,
        grad_kernel=grad_kernel,
        images=n,
        rows=t,
        columns=f,
        channels=channels,
        growth=growth_rate,
        layers=len(conv_weight),
        training=training,
        eps=eps,
        input_only=input_only,
        threads=threads_for(maps.numel()),
    )
    return grad_x, *(
        [torch.empty_like(p).copy_(g) for p, g in zip(parameters, group, strict=True)] if group else []
        for parameters, group in zip(
            (bn_weight, bn_bias, conv_weight), (grad_weight, grad_bias, grad_kernel), strict=True
        )
    )


def _exact(tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Return parameters as dense tensors of the dtype of the arithmetic."""
    return [tensor.to(dtype).contiguous() for tensor in tensors]


def _dense(maps: Tensor) -> Tensor:
    """Return maps `[N, C, T, F]` dense in the order N, T, F, C, whatever PyTorch takes for channels_last."""
    return maps.permute(0, 2, 3, 1).contiguous()
