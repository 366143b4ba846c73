"""Autograd function of BN, ReLU and the mean of cells, for the operations of `transition` and `norm_relu`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fastser_kernels.transforms import backward_needs_aten, reference_gradients

Results = tuple[Tensor, Tensor, Tensor]
"""Maps, and mean and variance of the batch."""


def norm_pool_function(
    forward_operation: Callable[..., Results],
    backward_operation: Callable[..., tuple[Tensor, list[Tensor]]],
    reference: Callable[..., Tensor],
) -> Callable[..., Results]:
    """Return a function of maps, BN tensors, `training` and `eps` that has gradients of maps, scale and shift.

    Args:
        forward_operation: Registered operation with the same arguments.
        backward_operation: Registered operation that computes the gradients.
        reference: The maps in ATen operations, for gradients that are differentiated again.
    """

    class NormPool(torch.autograd.Function):
        """BN, ReLU and mean of cells, with the statistics of the batch as further results."""

        @staticmethod
        def forward(
            ctx: Any,
            x: Tensor,
            bn_weight: Tensor,
            bn_bias: Tensor,
            running_mean: Tensor | None,
            running_var: Tensor | None,
            training: bool,
            eps: float,
        ) -> Results:
            maps, mean, var = forward_operation(x, bn_weight, bn_bias, running_mean, running_var, training, eps)
            ctx.save_for_backward(x, mean, var, bn_weight, bn_bias, running_mean, running_var)
            ctx.training, ctx.eps = training, eps
            ctx.mark_non_differentiable(mean, var)
            return maps, mean, var

        @staticmethod
        def backward(ctx: Any, grad_maps: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
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
            grad_x, parameters = backward_operation(
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

    function: Callable[..., Results] = NormPool.apply
    return function
