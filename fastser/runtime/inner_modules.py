"""The rule by which a layer computes with the tensors of its inner modules instead of calling them.

A module is plain if a call of it would do nothing but run the `forward` of its class on its own parameters. Hooks,
parametrizations, pruning, other classes, wrappers and replaced `forward` methods make a module not plain. A layer then
calls its inner modules, which is slower and means the same.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

_CLASSES = (nn.Parameter, Tensor)
"""Classes of plain parameters and buffers. torchao, DTensor and others put tensors of their own classes there."""


class Norm(NamedTuple):
    """Tensors and settings of a plain nn.BatchNorm2d."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    settings: tuple[bool, float, float]
    """Training flag, momentum and eps."""


def calls_are_observed() -> bool:
    """Return whether hooks on all modules are registered, which must see every call of an inner module."""
    return bool(module_hooks._has_any_global_hook())


def is_plain(module: nn.Module | None, kind: type[nn.Module]) -> bool:
    """Return whether a call of `module` would run the `forward` of class `kind` and nothing else."""
    return type(module) is kind and not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in module.__dict__
    )


def normalised(norm: nn.Module, x: Tensor) -> Tensor:
    """Return the result of calling a normalisation on maps `x`.

    Raises:
        ValueError: If `norm` is an nn.SyncBatchNorm in training and `x` is on a CPU, where it does not synchronise.
    """
    if isinstance(norm, nn.SyncBatchNorm) and norm.training and x.device.type == "cpu":
        raise ValueError("nn.SyncBatchNorm does not synchronise on a CPU: train on GPUs, or keep nn.BatchNorm2d")
    result: Tensor = norm(x)
    return result


def plain_norm(module: nn.Module | None) -> Norm | None:
    """Return the parts of a plain nn.BatchNorm2d.

    Returns:
        The parts, or None if the module is not plain, or has no parameters, running statistics or fixed momentum.
    """
    if not is_plain(module, nn.BatchNorm2d):
        return None
    assert isinstance(module, nn.BatchNorm2d)
    parameters, buffers = module._parameters, module._buffers
    weight, bias = parameters.get("weight"), parameters.get("bias")
    mean, var, tracked = (buffers.get(name) for name in ("running_mean", "running_var", "num_batches_tracked"))
    if weight is None or bias is None or mean is None or var is None or tracked is None:
        return None
    if not module.track_running_stats or module.momentum is None or not _are_plain((weight, bias, mean, var, tracked)):
        return None
    return Norm(weight, bias, mean, var, tracked, (module.training, module.momentum, module.eps))


def plain_kernel(module: nn.Module | None, size: int) -> Tensor | None:
    """Return the kernel of a plain nn.Conv2d that keeps the size of the maps.

    Args:
        module: Inner module of a layer.
        size: Height and width of the kernel.

    Returns:
        The kernel, or None if the module is not plain or has another size, padding or stride, a dilation, groups or a
        bias.
    """
    if not is_plain(module, nn.Conv2d):
        return None
    assert isinstance(module, nn.Conv2d)
    kernel = module._parameters.get("weight")
    if (
        kernel is None
        or type(kernel) not in _CLASSES
        or kernel.shape[2:] != (size, size)
        or module._parameters.get("bias", kernel) is not None
        or module.padding != (size // 2, size // 2)
        or module.padding_mode != "zeros"
        or module.stride != (1, 1)
        or module.dilation != (1, 1)
        or module.groups != 1
    ):
        return None
    return kernel


def plain_dense_layers(
    layers: Sequence[nn.Module], kind: type[nn.Module] | None = None
) -> tuple[list[Norm], list[Tensor]] | None:
    """Return the norms and 3x3 kernels of dense layers that one operation can run.

    Args:
        layers: Modules with a norm and a conv.
        kind: Class of plain layers. By default the layers themselves are not checked.

    Returns:
        Norms and kernels, or None if an inner module is not plain, the norms have different settings, or the kernels
        do not fit each other.
    """
    norms: list[Norm] = []
    kernels: list[Tensor] = []
    for layer in layers:
        if kind is not None and not is_plain(layer, kind):
            return None
        norm, kernel = plain_norm(layer._modules.get("norm")), plain_kernel(layer._modules.get("conv"), size=3)
        if norm is None or kernel is None:
            return None
        norms.append(norm)
        kernels.append(kernel)
    channels, growth_rate = kernels[0].shape[1], kernels[0].shape[0]
    for i, (norm, kernel) in enumerate(zip(norms, kernels, strict=True)):
        if norm.settings != norms[0].settings or kernel.shape[:2] != (growth_rate, channels + i * growth_rate):
            return None
    return None if calls_are_observed() else (norms, kernels)


def plain_transition(layer: nn.Module) -> tuple[Norm, Tensor] | None:
    """Return the norm and 1x1 kernel of a transition, or None if one of them is not plain."""
    norm, kernel = plain_norm(layer._modules.get("norm")), plain_kernel(layer._modules.get("conv"), size=1)
    return None if norm is None or kernel is None or calls_are_observed() else (norm, kernel)


def plain_norm_relu(module: nn.Module, following: nn.Module | None) -> bool:
    """Return whether two modules are a plain nn.BatchNorm2d and a plain nn.ReLU."""
    return is_plain(following, nn.ReLU) and plain_norm(module) is not None and not calls_are_observed()


def plain_highway(units: Iterable[nn.Module], gates: Iterable[nn.Module]) -> list[list[Tensor]] | None:
    """Return the weights and biases of the units, then those of the gates, or None if one is no plain nn.Linear."""
    parts: list[list[Tensor]] = []
    for layers in (units, gates):
        weights: list[Tensor] = []
        biases: list[Tensor] = []
        for layer in layers:
            if not is_plain(layer, nn.Linear):
                return None
            weight, bias = layer._parameters.get("weight"), layer._parameters.get("bias")
            if weight is None or bias is None or not _are_plain((weight, bias)):
                return None
            weights.append(weight)
            biases.append(bias)
        parts += [weights, biases]
    return None if calls_are_observed() else parts


def _are_plain(tensors: Iterable[Tensor]) -> bool:
    return all(type(tensor) in _CLASSES for tensor in tensors)
