"""Time shares of a training step and of an attack: `python -m benchmarks.stages [--kernels reference]`.

The command prints, from PyTorch's profiler, the share of each kind of work in the wall time. Beside it stand two lower
bounds of the time: the arithmetic of the convolutions and matrix products at the speed of a large matrix product, and
the bytes of the dense blocks and transitions at the speed of a large copy.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median
from typing import Any

import torch
from fastser_kernels import reference_kernels
from fastser_kernels.dense_block.op import ideal_bytes as dense_block_bytes
from fastser_kernels.transition.op import ideal_bytes as transition_bytes
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.limits import limits
from fastser.attacks import BIM
from fastser.layers import DenseBlock, Transition
from fastser.models import MODELS, build_model
from fastser.runtime.malloc import keep_freed_memory
from fastser.settings import SCALES, Settings
from fastser.training.loss import loss_function

ROUNDS = 7
STEPS = 4
KINDS = {
    "dense blocks and other operations of fastser": (
        "fastser_kernels::",
    ),  # one event per call; no operation of ATen runs inside
    "convolution": ("convolution", "conv2d"),
    "matrix products and LSTM": ("mm", "linear", "rnn", "lstm"),
    "pooling": ("pool",),
    "optimiser": ("_foreach", "_fused", "Optimizer"),
    "copies and concatenation": ("copy", "cat", "contiguous", "clone", "zero", "fill", "empty"),
}
"""Kinds of work and the parts of operation names that belong to them. The first kind that matches counts."""

ELEMENTWISE = "normalisation, ReLU, sums (elementwise)"
OUTSIDE = "Python, autograd, waiting"


def _kind(name: str) -> str:
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), ELEMENTWISE)


def shares(call: Callable[[], object]) -> tuple[float, dict[str, float]]:
    """Return the median wall time of a call in seconds, and the share of each kind of work in one profiled call."""
    call()
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        began = time.perf_counter()
        call()
        wall = time.perf_counter() - began
    spent: Counter[str] = Counter()
    for event in trace.key_averages():
        if event.key.startswith(("aten::", "fastser_kernels::")):
            spent[_kind(event.key)] += event.self_cpu_time_total / 1e6
    shared = {kind: own / wall for kind, own in spent.most_common()}
    return median(seconds), shared | {OUTSIDE: max(1.0 - sum(shared.values()), 0.0)}


def block_bytes(model: nn.Module, x: Tensor, *, training: bool) -> int:
    """Return the bytes that the dense blocks and transitions of a model must move, forward and backward."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        nonlocal total
        n, channels, t, f = (maps := inputs[0]).shape
        if isinstance(module, DenseBlock):
            total += sum(dense_block_bytes(n * t * f, channels, module.growth_rate, module.num_layers, maps.itemsize))
        elif isinstance(module, Transition):
            for backward in (False, True):
                total += transition_bytes((n, channels, t, f), maps.itemsize, training=training, backward=backward)

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, DenseBlock | Transition)]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return total


class Flops(TorchDispatchMode):
    """Counter of the FLOPs of convolutions and matrix products, by PyTorch's formulas."""

    def __init__(self) -> None:
        super().__init__()
        self.total: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.total += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


def flops(call: Callable[[], object]) -> int:
    """Return the FLOPs of a call, counted on the references: fastser's operations are opaque to the counter."""
    with reference_kernels(), Flops() as counter:
        call()
    total: int = counter.total
    return total


def report(settings: Settings, name: str, batch: int, *, reference: bool) -> list[str]:
    """Measure a training step of one model and an attack on it.

    Args:
        settings: Settings of one scale.
        name: Name of the model.
        batch: Number of segments.
        reference: Time the eager references instead of fastser's operations.

    Returns:
        Lines to print.
    """
    size = settings.spectrogram.segment_frames, settings.spectrogram.num_bins
    torch.manual_seed(0)
    model = build_model(name, settings=settings.model, segment_frames=size[0], num_bins=size[1])
    x, y = torch.randn(batch, *size), torch.randint(4, (batch,))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    attack = BIM(model, settings.attack.eps, settings.attack.eps * settings.attack.bim_relative_step, STEPS)
    compute_loss = loss_function(x.device, "float32")

    def training_step() -> None:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        compute_loss(model, x, y, None, None).backward()
        optimizer.step()

    lines = []
    limit = limits("cpu", torch.float32)
    stages: dict[str, Callable[[], object]] = {
        "training step": training_step,
        f"BIM, {STEPS} steps": lambda: attack(x, y),
    }
    for title, call in stages.items():
        training = call is training_step
        model.train(training)
        moved = block_bytes(model, x, training=training) * (1 if training else STEPS)
        arithmetic = flops(call)
        with reference_kernels() if reference else nullcontext():
            seconds, by_kind = shares(call)
        floors = arithmetic / limit.flops_per_second, moved / limit.bytes_per_second
        kernels = "reference" if reference else "fused"
        lines.append(
            f"{title}, {MODELS[name].title}, {settings.scale} scale, {batch} segments, {kernels}: "
            f"{1000 * seconds:.0f} ms; floors: arithmetic {1000 * floors[0]:.0f} ms ({arithmetic / 1e9:.1f} GFLOP), "
            f"bytes of the blocks {1000 * floors[1]:.0f} ms ({moved / 1e6:.0f} MB)"
        )
        lines += [f"  {100 * share:5.1f} %  {kind}" for kind, share in by_kind.items()]
    return lines


def main() -> None:
    """Print the time shares of a model at both scales."""
    parser = argparse.ArgumentParser("python -m benchmarks.stages", description=__doc__)
    parser.add_argument(
        "--kernels",
        choices=("fused", "reference"),
        default="fused",
        help="fastser's operations, or the eager references",
    )
    parser.add_argument("--model", choices=tuple(MODELS), default="proposed")
    arguments = parser.parse_args()
    keep_freed_memory()
    for scale, batch in (("paper", 8), ("quick", 16)):
        for line in report(SCALES[scale], arguments.model, batch, reference=arguments.kernels == "reference"):
            print(line)


if __name__ == "__main__":
    main()
