"""The basic iterative method on the proposed model at the paper's size, whole: foolbox and a plain loop, against ours.

"eager" and "foolbox" attack the same weights in plain PyTorch modules; they are frozen, so that nobody computes weight
gradients.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.eager_models import eager_model
from benchmarks.gate import WrongResultError
from benchmarks.peers import peer
from benchmarks.work import Case, Work, once
from fastser.attacks import BIM
from fastser.models import build_model
from fastser.settings import PAPER

EPS = PAPER.attack.eps
ALPHA = EPS * PAPER.attack.bim_relative_step
BOUNDS = (-100.0, 100.0)
ALLOWED_SHARE = 1e-3


def _check(provider: str, results: Sequence[Tensor], eager: Sequence[Tensor], exact: Sequence[Tensor]) -> None:  # noqa: ARG001
    """The same adversarial examples as eager PyTorch's, but where the sign of a gradient near zero differs."""
    share = float(((results[0] - eager[0]).abs() > 1e-6).double().mean())
    if not share <= ALLOWED_SHARE:
        raise WrongResultError(f"{provider}: {share:.1e} of all values differ, allowed {ALLOWED_SHARE}: not timed")


def _work(device: torch.device, batch: int, steps: int) -> Work:
    shape = batch, PAPER.spectrogram.segment_frames, PAPER.spectrogram.num_bins
    torch.manual_seed(0)
    model = build_model("proposed").to(device)
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(shape, device=device))
    model = model.eval().requires_grad_(False)
    plain = eager_model(model).requires_grad_(False)
    ours = BIM(model, EPS, ALPHA, steps, BOUNDS)

    def loop(x: Tensor, y: Tensor) -> Tensor:
        adversarial = x.clone()
        for _ in range(steps):
            leaf = adversarial.detach().requires_grad_()
            (slope,) = torch.autograd.grad(F.cross_entropy(plain(leaf), y, reduction="sum"), leaf)
            moved = adversarial + ALPHA * slope.sign()
            adversarial = torch.clamp(x + torch.clamp(moved - x, -EPS, EPS), *BOUNDS)
        return adversarial

    providers = {"eager": once(loop), "fastser": once(ours)}
    foolbox, missing = peer("foolbox")
    if foolbox is not None:

        def by_foolbox(x: Tensor, y: Tensor) -> Tensor:
            """The attack alone, without foolbox's check of who was fooled."""
            attack = foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=ALPHA, steps=steps, random_start=False)
            wrapped = foolbox.PyTorchModel(plain, bounds=BOUNDS, device=device)
            adversarial: Tensor = attack.run(wrapped, x, foolbox.criteria.Misclassification(y), epsilon=EPS)
            return adversarial

        providers["foolbox"] = once(by_foolbox)

    def inputs() -> tuple[Any, ...]:
        return torch.randn(shape, device=device), torch.randint(4, (batch,), device=device)

    parameters = [*_tensors(model), *_tensors(plain)]
    return Work(
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
    build = partial(_work, batch=batch, steps=steps)
    return Case("BIM, proposed", f"{batch} segments, {steps} steps", ("eager", "fastser", "foolbox"), build, (device,))


CASES = [
    _case(4, 4, "cpu"),
    _case(64, PAPER.attack.bim_steps, "cuda"),
    _case(1, PAPER.attack.bim_steps, "cuda"),
]
