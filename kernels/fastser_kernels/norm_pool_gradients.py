"""Backward pass that the autograd functions of `transition` and `norm_relu` share."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from fastser_kernels.transforms import backward_needs_aten, reference_gradients


def gradients(
    ctx: Any, grad_maps: Tensor, backward: Callable[..., tuple[Tensor, list[Tensor]]], reference: Callable[..., Tensor]
) -> tuple[Tensor | None, ...]:
    """Return the gradients of `x`, `bn_weight`, `bn_bias`, and None for the four other arguments of the forward pass.

    Args:
        ctx: Context of the autograd function. It has saved x, mean, var, bn_weight, bn_bias, running_mean and
            running_var, and holds `training` and `eps`.
        grad_maps: Gradient of the maps.
        backward: Registered operation.
        reference: The maps in ATen operations, for gradients that are differentiated again.
    """
    x, mean, var, bn_weight, bn_bias, running_mean, running_var = ctx.saved_tensors
    x_wanted, weight_wanted, bias_wanted, *_ = ctx.needs_input_grad
    if backward_needs_aten(grad_maps):
        run = partial(
            reference,
            running_mean=running_mean,
            running_var=running_var,
            training=ctx.training,
            momentum=0.0,
            eps=ctx.eps,
        )
        wanted = [x_wanted, weight_wanted, bias_wanted]
        return *reference_gradients(run, [x, bn_weight, bn_bias], wanted, grad_maps), *[None] * 4
    input_only = not (weight_wanted or bias_wanted)
    grad_x, parameters = backward(
        grad_maps,
        x,
        mean,
        var,
        bn_weight,
        bn_bias,
        running_mean,
        running_var,
        ctx.training,
        ctx.eps,
        input_only,
    )
    grad_weight, grad_bias = (None, None) if input_only else parameters
    return grad_x, grad_weight, grad_bias, None, None, None, None
