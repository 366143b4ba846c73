"""Evaluation of a model under clean, noise and attack conditions: eager references against operations."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

import torch
from fastser_kernels import reference_kernels
from torch import Tensor

from benchmarks.case import Call, Case, Workload
from benchmarks.gate import WrongResultError
from fastser.data.dataset import prepare, prepare_noise
from fastser.evaluation.conditions import conditions, evaluate
from fastser.evaluation.segment_trial import SegmentTrial
from fastser.experiment.roles import read_roles
from fastser.models import build_model
from fastser.settings import PAPER_CLASSES, QUICK

UTTERANCES = 16
ALLOWED = 1e-2
"""Mean difference allowed between posteriors: the step of an attack may differ where a gradient is near zero."""


def _check(provider: str, results: Sequence[Tensor], eager: Sequence[Tensor], exact: Sequence[Tensor]) -> None:  # noqa: ARG001
    """Compare posteriors with those of the references."""
    difference = float((results[0] - eager[0]).abs().mean())
    if not difference <= ALLOWED:
        sentence = f"posteriors are {difference:.1e} from those of the references, allowed {ALLOWED}: not timed"
        raise WrongResultError(f"{provider}: {sentence}")


def workload(device: torch.device, name: str, utterances: int) -> Workload:
    roles = read_roles(None, None, None, PAPER_CLASSES)
    assert roles.source is not None
    assert roles.noise is not None
    dataset = prepare(roles.source, QUICK, device=device)
    noise = prepare_noise(roles.noise, QUICK)
    test = dataset.subset(range(utterances))
    normalisation = test.normalisation()
    torch.manual_seed(0)
    spectrogram = QUICK.spectrogram
    model = build_model(
        name, settings=QUICK.model, segment_frames=spectrogram.segment_frames, num_bins=spectrogram.num_bins
    ).to(device)

    def provider(*, reference: bool) -> Callable[..., Call]:
        def call() -> Sequence[Tensor]:
            trial = SegmentTrial(model, test, QUICK, normalisation, noise=noise)  # a trial computes each condition once
            with reference_kernels() if reference else nullcontext():
                results = evaluate(trial, conditions("source", QUICK))
            return [torch.stack([torch.from_numpy(result.posteriors) for result in results.values()])]

        return lambda: call

    return Workload(
        dtype=torch.float32,
        inputs=tuple,
        providers={"eager": provider(reference=True), "fastser": provider(reference=False)},
        exact=lambda: [],
        gate=_check,
        capturable=False,
    )


CASES = [
    Case(
        "evaluation under all conditions",
        f"{name}, quick scale, {UTTERANCES} synthetic utterances",
        ("eager", "fastser"),
        partial(workload, name=name, utterances=UTTERANCES),
    )
    for name in ("proposed", "cnn")
]
