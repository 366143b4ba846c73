"""Training batches from a bank of frames: indexing, normalisation, padding and lerp against one operation."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from fastser_kernels import gather_mixup, gather_segments
from fastser_kernels.gather import reference
from fastser_kernels.gather.op import ideal_bytes
from torch import Tensor

from benchmarks.case import Call, Case, Workload, once
from benchmarks.compiled import COMPILED, compiled
from benchmarks.peers import peer
from fastser.settings import PAPER, QUICK, SpectrogramSettings

BANK_SEGMENTS, MEAN, STD = 5_000, -40.0, 15.0
FUNCTIONS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], int]] = {
    "gather": (reference.gather_segments, gather_segments, 1),
    "gather and mixup": (reference.gather_mixup, gather_mixup, 2),
}


def workload(
    device: torch.device,
    batch: int,
    settings: SpectrogramSettings,
    operation: str,
    bank_segments: int = BANK_SEGMENTS,
) -> Workload:
    frames, bins = settings.segment_frames, settings.num_bins
    eager, fused, windows = FUNCTIONS[operation]
    bank = torch.randn(bank_segments * frames, bins, device=device).mul_(STD).add_(MEAN)

    def inputs() -> tuple[Any, ...]:
        """Draw random starts. Every fourth segment of each window is padded."""
        drawn: list[Tensor] = []
        for first_padded in range(windows):
            start = torch.randint(len(bank) - frames, (batch,), device=device)
            length = torch.full_like(start, frames)
            length[first_padded::4] //= 3
            drawn += start, length
        return (*drawn, torch.rand(batch, device=device)) if windows == 2 else tuple(drawn)

    def provider(function: Callable[..., Tensor]) -> Callable[..., Call]:
        return once(lambda *drawn: function(bank, *drawn, MEAN, STD, frames))

    more, missing = compiled(eager, provider, device)
    providers: dict[str, Callable[..., Call]] = {"eager": provider(eager), **more, "fastser": provider(fused)}
    mixup, without = peer("kornia.augmentation")
    if windows == 2:
        missing |= without
    if mixup is not None and windows == 2:
        providers["kornia"] = _kornia(bank, frames)

    def exact(*drawn: Tensor) -> list[Tensor]:
        wide = [tensor.double() if tensor.is_floating_point() else tensor for tensor in drawn]
        return [eager(bank.double(), *wide, MEAN, STD, frames)]

    return Workload(
        dtype=torch.float32,
        inputs=inputs,
        providers=providers,
        exact=exact,
        ideal_bytes=ideal_bytes(batch, frames, bins, 4, windows=windows),
        missing=missing,
    )


def _kornia(bank: Tensor, frames: int) -> Callable[..., Call]:
    """Return kornia's mixup of two gathered batches as a provider. Partners and weights are given to kornia."""
    functional, _ = peer("kornia.augmentation")
    assert functional is not None
    layer = functional.RandomMixUpV2(p=1.0, data_keys=["input"])

    def run(start_a: Tensor, length_a: Tensor, start_b: Tensor, length_b: Tensor, lam: Tensor) -> Tensor:
        start, length = torch.cat([start_a, start_b]), torch.cat([length_a, length_b])
        both = reference.gather_segments(bank, start, length, MEAN, STD, frames)[:, None]
        n = len(lam)
        pairs = torch.cat([torch.arange(n, 2 * n), torch.arange(n)]).to(lam.device)
        weights = 1.0 - torch.cat([lam, lam])
        parameters = {
            "mixup_pairs": pairs,
            "mixup_lambdas": weights,
            "batch_prob": torch.ones(2 * n, dtype=torch.bool),
            "dtype": torch.tensor([0]),
        }
        mixed: Tensor = layer.apply_transform(both, parameters, {})
        return mixed[:n, 0]

    return once(run)


def _case(batch: int, settings: SpectrogramSettings, operation: str, devices: tuple[str, ...]) -> Case:
    providers = ("eager", *COMPILED, "fastser", *(["kornia"] if operation == "gather and mixup" else []))
    shape = f"{batch} of {BANK_SEGMENTS} x {settings.segment_frames} x {settings.num_bins}"
    return Case(
        operation, shape, providers, partial(workload, batch=batch, settings=settings, operation=operation), devices
    )


CASES = [
    _case(64, PAPER.spectrogram, "gather", ("cpu", "cuda")),
    _case(64, PAPER.spectrogram, "gather and mixup", ("cpu", "cuda")),
    _case(16, QUICK.spectrogram, "gather and mixup", ("cpu",)),
    _case(1024, PAPER.spectrogram, "gather and mixup", ("cuda",)),
]
