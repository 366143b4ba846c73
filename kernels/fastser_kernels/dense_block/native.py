"""A DenseBlock in one call of the compiled library for each direction."""

import torch
from torch import Tensor

from fastser_kernels.native.calls import FLAG, FLOAT, INPUT, INPUTS, INT, OUTPUT, NativeFunction, threads_for
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
    maps = torch.empty(
        (n, read + growth_rate, t, f), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )
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


def _exact(tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Return parameters as dense tensors of the dtype of the arithmetic."""
    return [tensor.to(dtype).contiguous() for tensor in tensors]


def _dense(maps: Tensor) -> Tensor:
    """Return maps `[N, C, T, F]` dense in the order N, T, F, C, whatever PyTorch takes for channels_last."""
    return maps.permute(0, 2, 3, 1).contiguous()
