"""The basic iterative method (BIM) on a model, by default the proposed one: a plain loop, foolbox and fastser.

"eager" and "foolbox" attack the same weights in plain PyTorch modules. All weights are frozen, so that no provider
computes weight gradients.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.case import Case, Workload, once
from benchmarks.eager_models import eager_model
from benchmarks.gate import WrongResultError
from benchmarks.peers import peer
from fastser.attacks import BIM
from fastser.models import build_model
from fastser.settings import PAPER, Settings

EPS = PAPER.attack.eps
ALPHA = EPS * PAPER.attack.bim_relative_step
BOUNDS = (-100.0, 100.0)
ALLOWED_SHARE = 1e-3
"""Share of values that may differ from eager PyTorch, where the sign of a gradient near zero differs."""


def _check(provider: str, results: Sequence[Tensor], eager: Sequence[Tensor], exact: Sequence[Tensor]) -> None:  # noqa: ARG001
    """Compare adversarial examples with those of eager PyTorch."""
    share = float(((results[0] - eager[0]).abs() > 1e-6).double().mean())
    if not share <= ALLOWED_SHARE:
        sentence = f"{share:.1e} of all values differ from eager PyTorch, allowed {ALLOWED_SHARE}: not timed"
        raise WrongResultError(f"{provider}: {sentence}")


def workload(
    device: torch.device, batch: int, steps: int, settings: Settings = PAPER, name: str = "proposed"
) -> Workload:
    shape = batch, settings.spectrogram.segment_frames, settings.spectrogram.num_bins
    torch.manual_seed(0)
    model = build_model(name, settings=settings.model, segment_frames=shape[1], num_bins=shape[2]).to(device)
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(shape, device=device))
    model = model.eval().requires_grad_(False)
    plain = eager_model(model).requires_grad_(False)
    fused = BIM(model, EPS, ALPHA, steps, BOUNDS)

    def loop(x: Tensor, y: Tensor) -> Tensor:
        adversarial = x.clone()
        for _ in range(steps):
            leaf = adversarial.detach().requires_grad_()
            (slope,) = torch.autograd.grad(F.cross_entropy(plain(leaf), y, reduction="sum"), leaf)
            moved = adversarial + ALPHA * slope.sign()
            adversarial = torch.clamp(x + torch.clamp(moved - x, -EPS, EPS), *BOUNDS)
        return adversarial

    providers = {"eager": once(loop), "fastser": once(fused)}
    foolbox, missing = peer("foolbox")
    if foolbox is not None:

        def by_foolbox(x: Tensor, y: Tensor) -> Tensor:
            """Run the attack without foolbox's check of its success."""
            attack = foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=ALPHA, steps=steps, random_start=False)
            wrapped = foolbox.PyTorchModel(plain, bounds=BOUNDS, device=device)
            adversarial: Tensor = attack.run(wrapped, x, foolbox.criteria.Misclassification(y), epsilon=EPS)
            return adversarial

        providers["foolbox"] = once(by_foolbox)

    def inputs() -> tuple[Any, ...]:
        return torch.randn(shape, device=device), torch.randint(4, (batch,), device=device)

    parameters = [*_tensors(model), *_tensors(plain)]
    return Workload(
        dtype=torch.float32,
        inputs=inputs,
        providers=providers,
        exact=lambda *_: [],
        parameters=parameters,
        missing=missing,
        gate=_check,
        capturable=False,
    )


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _case(batch: int, steps: int, device: str) -> Case:
    build = partial(workload, batch=batch, steps=steps)
    return Case("BIM, proposed", f"{batch} segments, {steps} steps", ("eager", "fastser", "foolbox"), build, (device,))


CASES = [
    _case(4, 4, "cpu"),
    _case(64, PAPER.attack.bim_steps, "cuda"),
    _case(1, PAPER.attack.bim_steps, "cuda"),
]
