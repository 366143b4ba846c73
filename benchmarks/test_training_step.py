"""One training step: how much of it is spent outside the model's forward and backward pass and the optimiser."""

import time
from statistics import median

import pytest
import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture

from fastser.augmentation import draw_mixup
from fastser.models import build_model
from fastser.protocol import MODELS
from fastser.settings import SCALES
from fastser.spectrogram import SegmentBank

SEGMENTS = 400
BATCH = {"paper": 8, "quick": 16}


def bank(segment_frames: int, num_bins: int) -> SegmentBank:
    """Random frames, every segment full."""
    start = torch.arange(SEGMENTS) * segment_frames
    return SegmentBank(
        frames=torch.randn(SEGMENTS * segment_frames, num_bins),
        start=start,
        length=torch.full((SEGMENTS,), segment_frames),
        recording=torch.arange(SEGMENTS),
        sums=torch.ones(SEGMENTS, 3, dtype=torch.float64),
        num_utterances=SEGMENTS,
        segment_frames=segment_frames,
    )


@pytest.mark.parametrize("scale", list(SCALES))
@pytest.mark.parametrize("name", list(MODELS))
def test_step_with_mixup(benchmark: BenchmarkFixture, name: str, scale: str) -> None:
    """`extra_info["share_outside_model"]` is the median share of drawing and gathering a mixed batch in a step."""
    settings = SCALES[scale]
    frames, bins = settings.spectrogram.segment_frames, settings.spectrogram.num_bins
    corpus = bank(frames, bins)
    model = build_model(name, widths=settings.widths, segment_frames=frames, num_bins=bins)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, foreach=True)
    labels = torch.randint(4, (SEGMENTS,))
    order = torch.randperm(SEGMENTS)[: BATCH[scale]]
    shares: list[float] = []

    def step() -> None:
        began = time.perf_counter()
        partner, lam = draw_mixup(len(order), 0.2)
        x = corpus.gather_mixup(order, order[partner], lam, 0.0, 1.0)
        own, other = labels[order], labels[order[partner]]
        gathered = time.perf_counter()
        logits = model(x)
        losses = [F.cross_entropy(logits, y, reduction="none") for y in (other, own)]
        torch.lerp(*losses, lam).mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        shares.append((gathered - began) / (time.perf_counter() - began))

    benchmark.pedantic(step, rounds=5 if scale == "paper" else 20, warmup_rounds=1)
    benchmark.extra_info["share_outside_model"] = median(shares)
    benchmark.extra_info["ms_per_segment"] = 1000 * benchmark.stats.stats.median / len(order)
