"""One training step of each model: forward, backward and Adam on a batch with mixup.

"eager" is the same architecture of plain PyTorch modules, in bfloat16 under autocast. On a GPU all providers compute in
bfloat16, and "fastser" is compiled, as in the main job. Dropout is off, so that all providers compute the same.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.case import Call, Case, Workload
from benchmarks.compiled import COMPILED, compiled
from benchmarks.eager_models import eager_model
from benchmarks.gate import check_accuracy
from fastser.models import MODELS, build_model
from fastser.runtime.precision import Precision
from fastser.settings import SCALES
from fastser.training.loss import batch_loss, loss_function


def workload(device: torch.device, name: str, scale: str, batch: int, precision: Precision = "float32") -> Workload:
    settings = SCALES[scale]
    sizes = settings.model.model_copy(update={"dropout": 0.0})
    shape = batch, settings.spectrogram.segment_frames, settings.spectrogram.num_bins
    torch.manual_seed(0)
    model = build_model(name, settings=sizes, segment_frames=shape[1], num_bins=shape[2]).to(device)

    def inputs() -> tuple[Any, ...]:
        own, other = torch.randint(4, (2, batch), device=device)
        return torch.randn(shape, device=device), own, other, torch.rand(batch, device=device)

    def step(of: nn.Module, loss: Callable[..., Tensor]) -> Callable[..., Call]:
        optimizer = torch.optim.Adam(of.parameters(), lr=1e-4, fused=True)

        def prepare(*given: Any) -> Call:
            first = True

            def call() -> Sequence[Tensor]:
                """Do one step. The first call also returns the gradients, for the gate."""
                nonlocal first
                value = loss(of, *given)
                value.backward()
                gradients = _gradients(of) if first else []
                first = False
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                return [value.detach(), *gradients]

            return call

        return prepare

    def provider(loss: Callable[..., Tensor]) -> Callable[..., Call]:
        return step(eager_model(model), loss)

    def exact(x: Tensor, own: Tensor, other: Tensor, lam: Tensor) -> Sequence[Tensor]:
        wide = eager_model(model).double().cpu()
        logits = wide(x.double().cpu())
        by_own, by_other = (F.cross_entropy(logits, labels.cpu(), reduction="none") for labels in (own, other))
        loss = torch.lerp(by_other, by_own, lam.double().cpu()).mean()
        loss.backward()
        return [value.detach().to(device) for value in (loss, *_gradients(wide))]

    eager_loss = partial(batch_loss, precision=precision)
    providers: dict[str, Callable[..., Call]] = {"eager": provider(eager_loss)}
    if device.type == "cuda":
        more, missing = compiled(eager_loss, provider, device)
    else:
        more, missing = {}, dict.fromkeys(COMPILED, "compiling a whole model takes a minute on a CPU")
        if precision == "bfloat16":
            more["eager float32"] = provider(partial(batch_loss, precision="float32"))
    providers |= more | {"fastser": step(model, loss_function(device, precision))}
    return Workload(
        dtype=getattr(torch, precision),
        inputs=inputs,
        providers=providers,
        exact=exact,
        missing=missing,
        gate=partial(check_accuracy, gradients_from=1),
        capturable=False,
    )


def _gradients(model: nn.Module) -> list[Tensor]:
    """Return the sorted norms of all gradients as one tensor. The order of parameters differs in the plain model."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return [torch.stack([gradient.norm() for gradient in gradients]).sort().values]


def _case(name: str, scale: str, batch: int, device: str, precision: Precision) -> Case:
    build = partial(workload, name=name, scale=scale, batch=batch, precision=precision)
    on_cpu_in_bfloat16 = device == "cpu" and precision == "bfloat16"
    shape = f"{MODELS[name].title}, {scale} scale, {batch} segments{', bfloat16' if on_cpu_in_bfloat16 else ''}"
    others = ("eager float32",) if on_cpu_in_bfloat16 else ()
    return Case("training step", shape, ("eager", *others, *COMPILED, "fastser"), build, (device,))


CASES = [
    *(_case(name, "paper", 8, "cpu", "float32") for name in MODELS),
    *(_case(name, "paper", 8, "cpu", "bfloat16") for name in MODELS),
    *(_case(name, "quick", 16, "cpu", "float32") for name in MODELS),
    *(_case(name, "paper", 64, "cuda", "bfloat16") for name in MODELS),
]
