"""One utterance set of the stand-ins under all conditions (clean, 15 noises, FGSM, BIM): references or operations."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from fastser.evaluation.evaluate import evaluate
from fastser_kernels.registration import use_reference
from torch import Tensor

from benchmarks.gate import WrongResultError
from benchmarks.work import Call, Case, Work
from fastser.data.dataset import prepare, prepare_noise
from fastser.experiment.roles import read_roles
from fastser.models import build_model
from fastser.settings import QUICK

UTTERANCES = 16
ALLOWED = 1e-2


def _check(provider: str, results: Sequence[Tensor], eager: Sequence[Tensor], exact: Sequence[Tensor]) -> None:  # noqa: ARG001
    """Mean posteriors as with the references; an attack's step near a zero gradient may differ."""
    difference = float((results[0] - eager[0]).abs().mean())
    if not difference <= ALLOWED:
        raise WrongResultError(f"{provider}: posteriors are {difference:.1e} apart, allowed {ALLOWED}: not timed")


def _work(device: torch.device, name: str) -> Work:
    roles = read_roles(None, None, None)
    assert roles.source is not None
    assert roles.noise is not None
    dataset = prepare(roles.source, QUICK, device=device)
    noise = prepare_noise(roles.noise, QUICK)
    test = dataset.subset(range(UTTERANCES))
    mean, std = test.statistics()
    torch.manual_seed(0)
    spectrogram = QUICK.spectrogram
    model = build_model(
        name, settings=QUICK.model, segment_frames=spectrogram.segment_frames, num_bins=spectrogram.num_bins
    ).to(device)

    def provider(reference: bool) -> Callable[..., Call]:
        def call() -> Sequence[Tensor]:
            use_reference(reference)
            try:
                conditions = evaluate(model, test, QUICK, mean, std, noise, 0)
            finally:
                use_reference(False)
            return [torch.stack([torch.from_numpy(result.posteriors) for result in conditions.values()])]

        return lambda: call

    return Work(
        dtype=torch.float32,
        inputs=tuple,
        providers={"eager": provider(True), "fastser": provider(False)},
        exact=lambda: [],
        gate=_check,
        capturable=False,
    )


CASES = [
    Case(
        "evaluation under all conditions",
        f"{name}, quick scale, {UTTERANCES} synthetic utterances",
        ("eager", "fastser"),
        partial(_work, name=name),
    )
    for name in ("proposed", "cnn")
]
