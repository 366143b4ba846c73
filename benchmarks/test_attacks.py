"""BIM on the proposed model at full size: fastser's on its own layers against foolbox's on plain PyTorch modules."""

import time
from statistics import median

import foolbox
import pytest
import torch
from eager_models import eager_model
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from fastser.attacks import BIM
from fastser.models import build_model
from fastser.settings import PAPER

BATCH, STEPS, ROUNDS = 4, 4, 5
EPS = PAPER.attack.eps
ALPHA = EPS * PAPER.attack.bim_relative_step
BOUNDS = (-100.0, 100.0)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """Fresh weights, and running statistics of a few batches."""
    torch.manual_seed(0)
    model = build_model("proposed")
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(BATCH, PAPER.spectrogram.segment_frames, PAPER.spectrogram.num_bins))
    return model.eval()


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, Tensor]:
    """Standardised segments and labels."""
    shape = BATCH, PAPER.spectrogram.segment_frames, PAPER.spectrogram.num_bins
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator), torch.randint(4, (BATCH,), generator=generator)


def by_foolbox(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The attack alone, without foolbox's check of who was fooled."""
    attack = foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=ALPHA, steps=STEPS, random_start=False)
    wrapped = foolbox.PyTorchModel(model, bounds=BOUNDS, device="cpu")
    return attack.run(wrapped, x, foolbox.criteria.Misclassification(y), epsilon=EPS)


@pytest.mark.parametrize("weights", ["trainable", "frozen"])
@pytest.mark.parametrize("provider", ["foolbox-eager", "fastser"])
def test_bim(
    benchmark: BenchmarkFixture, provider: str, weights: str, model: nn.Module, batch: tuple[Tensor, Tensor]
) -> None:
    """`extra_info` of fastser: "ratio" of foolbox's time to ours, in turns; how far apart the results are.

    foolbox calls `backward`, which gives trainable weights gradients too; frozen ones spare it that.
    """
    eager = eager_model(model).requires_grad_(weights == "trainable")
    benchmark.group = f"BIM, proposed, {BATCH} segments, {STEPS} steps, weights {weights}"
    if provider == "foolbox-eager":
        benchmark.pedantic(by_foolbox, (eager, *batch), rounds=ROUNDS, warmup_rounds=1)
        return
    attack = BIM(model, EPS, ALPHA, STEPS, BOUNDS)
    benchmark.pedantic(attack, batch, rounds=ROUNDS, warmup_rounds=1)
    ratios = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        theirs = by_foolbox(eager, *batch)
        between = time.perf_counter()
        ours = attack(*batch)
        ratios.append((between - began) / (time.perf_counter() - between))
    difference = (ours - theirs).abs()
    apart = (difference > 1e-6).double().mean().item()
    assert apart < 1e-3  # the sign of a gradient near zero may differ, after which a value is two steps off
    benchmark.extra_info["ratio"] = median(ratios)
    benchmark.extra_info["largest_difference"] = difference.max().item()
    benchmark.extra_info["share_above_1e-6"] = apart
