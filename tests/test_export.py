"""Export of layers and models: any size of the batch, gradients and plain ATen operations."""

import pytest
import torch
from layer_cases import LAYERS, LayerCase
from torch import nn
from torch.export import Dim, export

from fastser.layers import LogSpectrogram
from fastser.models import MODELS, build_model
from fastser.settings import QUICK

CASES = LAYERS | {"LogSpectrogram": LayerCase(lambda: LogSpectrogram(8, 4, 8, 5), (2, 30), (40, 300))}
FRAMES, BINS = QUICK.spectrogram.segment_frames, QUICK.spectrogram.num_bins
ANY_BATCH = ({0: Dim("batch", min=1, max=65_536)},)


def _model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, settings=QUICK.model, segment_frames=FRAMES, num_bins=BINS).eval()


@pytest.mark.parametrize("strict", [False, True], ids=["non-strict", "strict"])
@pytest.mark.parametrize("name", CASES)
def test_an_exported_layer_takes_any_batch_and_is_plain_aten(name: str, strict: bool) -> None:
    layer, x = CASES[name].build().eval(), CASES[name].input()
    program = export(layer, (x,), dynamic_shapes=ANY_BATCH, strict=strict)
    assert not [node for node in program.graph.nodes if "fastser_kernels" in str(node.target)]
    exported = program.module()
    for samples in (1, 40):
        batch = torch.randn(samples, *x.shape[1:], dtype=x.dtype)
        torch.testing.assert_close(exported(batch), layer(batch))
        with torch.no_grad():
            torch.testing.assert_close(exported(batch), layer(batch))
    given = x.clone().requires_grad_()
    exported(given).square().sum().backward()
    expected = torch.autograd.grad(layer(given).square().sum(), [given, *layer.parameters()])
    torch.testing.assert_close([given.grad, *(p.grad for p in exported.parameters())], list(expected))


@pytest.mark.parametrize("name", MODELS)
def test_an_exported_model_takes_any_batch(name: str) -> None:
    model = _model(name)
    exported = export(model, (torch.randn(4, FRAMES, BINS),), dynamic_shapes=ANY_BATCH).module()
    for samples in (1, 3, 60):
        x = torch.randn(samples, FRAMES, BINS)
        torch.testing.assert_close(exported(x), model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # tracing warns that it is old, and of every check of a shape
@pytest.mark.parametrize("name", LAYERS)
def test_a_traced_layer_is_plain_aten(name: str) -> None:
    layer, x = CASES[name].build().eval(), CASES[name].input()
    traced = torch.jit.trace(layer, x)
    assert "fastser_kernels::" not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(2 * x), layer(2 * x))
