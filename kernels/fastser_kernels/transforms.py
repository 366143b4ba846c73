"""Transforms of programs that the operations have no rules for, and results that may be changed in place.

Inside a transform the eager reference computes, because every transform knows its ATen operations.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad


def transformed() -> bool:
    """Return whether a function transform is active: torch.func.grad, vmap, jvp and their like, or forward-mode AD."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def needs_aten() -> bool:
    """Return whether only ATen operations may run.

    This is the case inside a function transform, and while torch.export or torch.jit.trace records a program that
    other software runs.
    """
    return transformed() or torch.compiler.is_exporting() or torch._C._get_tracing_state() is not None


def backward_needs_aten(grad: Tensor) -> bool:
    """Return whether a backward pass must be differentiable itself (`create_graph=True`), or runs in a transform.

    torch.compile traces the forward pass with gradients enabled, and differentiates once.

    Args:
        grad: Gradient of the result. `torch.autograd.grad(is_grads_batched=True)` passes a batch of them as one tensor.
    """
    if torch.compiler.is_compiling():
        return False
    return torch.is_grad_enabled() or transformed() or torch._C._functorch.is_legacy_batchedtensor(grad)


def reference_gradients(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor
) -> list[Tensor | None]:
    """Compute the gradients of a function by autograd, in a way that can be differentiated again.

    Args:
        function: Function of `inputs` in ATen operations.
        inputs: Tensors with the history that they had in the forward pass.
        wanted: Whether the gradient of each input is needed.
        grad: Gradient of the result.

    Returns:
        The gradient of each input, or None where it is not needed.
    """
    twice = torch.is_grad_enabled()
    with torch.enable_grad():
        # Hooks on the inputs themselves would see the gradient here and again in the outer backward pass.
        views = [tensor.view_as(tensor) for tensor in inputs]
        if not twice:
            views = [view.detach().requires_grad_(need) for view, need in zip(views, wanted, strict=True)]
        chosen = [view for view, need in zip(views, wanted, strict=True) if need]
        gradients = iter(torch.autograd.grad(function(*views), chosen, grad, create_graph=twice))
    return [next(gradients) if need else None for need in wanted]


def changeable(result: Tensor) -> Tensor:
    """Return a result that can be changed in place although the backward pass reads it.

    Its memory is shared with the saved tensor until one of them is written, which copies it (copy-on-write). On a GPU
    the result is returned as it is, and autograd refuses the change: Triton reads memory in a way that copies it.
    """
    if type(result) is not Tensor or not result.requires_grad or result.device.type != "cpu":
        return result
    if torch.compiler.is_compiling() or needs_aten():
        return result
    return torch._lazy_clone(result)
