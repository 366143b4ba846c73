"""The eager models that fastser's are compared with: same weights, same device, same dtype, same logits."""

import pytest
import torch
from torch import nn

from benchmarks.eager_models import eager_model
from fastser.models import MODELS, build_model
from fastser.settings import QUICK

SIZE = QUICK.spectrogram.segment_frames, QUICK.spectrogram.num_bins


def model_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, settings=QUICK.model, segment_frames=SIZE[0], num_bins=SIZE[1]).eval()


@pytest.mark.parametrize("name", MODELS)
def test_the_logits_are_those_of_fastser(name: str) -> None:
    model, x = model_of(name).double(), torch.randn(2, *SIZE, dtype=torch.float64)
    eager = eager_model(model)
    assert {tensor.dtype for tensor in eager.parameters()} == {torch.float64}
    torch.testing.assert_close(eager(x), model(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_the_device_is_that_of_the_model(name: str) -> None:
    eager = eager_model(model_of(name).to("meta"))
    assert {tensor.device.type for tensor in (*eager.parameters(), *eager.buffers())} == {"meta"}
    assert eager(torch.empty(2, *SIZE, device="meta")).shape == (2, 4)
