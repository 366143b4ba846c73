"""Calls on a CPU under another default device, another default dtype and deterministic algorithms: the same bits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from fastser_kernels import gather_mixup, gather_segments, linf_step, reference_kernels
from layer_cases import LAYERS, LayerCase
from torch import Tensor

from fastser.attacks import BIM
from fastser.augmentation import mixup
from fastser.data.features import FeatureExtractor
from fastser.layers import LogSpectrogram
from fastser.models import MODELS, build_model
from fastser.settings import QUICK, SpectrogramSettings

CASES = LAYERS | {"LogSpectrogram": LayerCase(lambda: LogSpectrogram(8, 4, 8, 5), (2, 30), (40, 300))}
CPU = torch.device("cpu")


@contextmanager
def _default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def _default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


every_default = pytest.mark.parametrize(
    "default", [_default_device, _default_dtype, _deterministic], ids=["device", "dtype", "deterministic"]
)
paths = pytest.mark.parametrize("path", ["operations", "reference"])


def _same(default: Callable[[], Iterator[None]], run: Callable[[], list[Tensor]]) -> None:
    expected = run()
    with default():
        actual = run()
    for mine, right in zip(actual, expected, strict=True):
        assert (mine.device, mine.dtype) == (CPU, right.dtype)
        assert torch.equal(mine, right)


@paths
@every_default
@pytest.mark.parametrize("name", CASES)
def test_layers(name: str, path: str, default: Callable[[], Iterator[None]], request: pytest.FixtureRequest) -> None:
    layer = CASES[name].build()
    state = {key: value.clone() for key, value in layer.state_dict().items()}
    x = CASES[name].input()

    def run() -> list[Tensor]:
        found = []
        for dtype in (torch.float64, torch.float32):
            layer.load_state_dict(state)
            layer.to(dtype)
            for training in (True, False):
                given = x.to(dtype).requires_grad_()
                result = layer.train(training)(given)
                found += [result.detach(), *torch.autograd.grad(result.square().sum(), [given, *layer.parameters()])]
            found += [buffer.clone() for buffer in layer.buffers()]
            layer.double()
        return found

    with reference_kernels() if path == "reference" else torch.enable_grad():
        _same(default, run)


@every_default
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_segments_mixtures_and_steps(default: Callable[[], Iterator[None]], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    bank = torch.randn(40, 5, generator=generator).to(dtype)
    start, length, lam = torch.tensor([1, 30]), torch.tensor([9, 4]), torch.tensor([0.25, 0.5])
    mean, std = torch.tensor(0.5), torch.tensor(2.0)
    x, y = torch.randn(4, 6, generator=generator), torch.tensor([0, 1, 2, 3])

    def run() -> list[Tensor]:
        moved = x.clone()
        linf_step(moved, x, -x, 0.1, 0.2, (-1.0, 1.0))
        mixed = mixup(x, y, alpha=0.2, generator=torch.Generator().manual_seed(1))
        results = [gather_segments(bank, start, length, *pair, 8) for pair in ((0.5, 2.0), (mean, std), (mean, 2.0))]
        results.append(gather_mixup(bank, start, length, start - 1, length, lam, 0.5, 2.0, 8))
        with reference_kernels():
            results.append(gather_mixup(bank, start, length, start - 1, length, lam, mean, 2.0, 8))
        return [moved, *mixed, *results]

    _same(default, run)


@every_default
@pytest.mark.parametrize("kind", ["linear", "log-mel"])
def test_feature_extraction(kind: str, default: Callable[[], Iterator[None]]) -> None:
    settings = SpectrogramSettings(kind=kind, num_bins=40)
    waveforms, start, frames = torch.randn(9000), torch.tensor([0, 4000]), torch.tensor([20, 25])
    _same(default, lambda: [FeatureExtractor.create(settings, 16_000)(waveforms, start, frames)])


@every_default
@pytest.mark.parametrize("name", MODELS)
def test_models_and_attacks(name: str, default: Callable[[], Iterator[None]]) -> None:
    model = build_model(name, settings=QUICK.model, segment_frames=32, num_bins=32)
    x, y = torch.randn(2, 32, 32), torch.tensor([0, 3])
    _same(default, lambda: [model.eval()(x).detach(), BIM(model, 0.1, 0.02, 3)(x, y)])
