"""The loss of a batch: its value, its compiled form on every architecture, its dtypes."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from cases import on_gpu, require_kernel
from functorch.compile import make_boxed_func
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd

from fastser.layers import LSTM, DenseBlock, Highway, Transition
from fastser.models import MODELS, build_model
from fastser.runtime.nvtx_ranges import stage
from fastser.settings import QUICK
from fastser.training.loss import _compiled, batch_loss, loss_function

SMALL = QUICK.model.model_copy(update={"layers_per_block": 2, "cnn_units": (32, 16)})


def _model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, settings=SMALL, segment_frames=32, num_bins=32)


def _batch(size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(size)
    x = torch.randn(size, 32, 32, generator=generator)
    own, other = (labels.clone() for labels in torch.randint(4, (2, size), generator=generator))
    return x, own, other, torch.rand(size, generator=generator)


def test_loss_lies_between_two_labels() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 4))
    x, own, other, lam = _batch(5)
    logits = model(x)
    expected = [lam[i] * F.cross_entropy(logits[i], own[i]) for i in range(5)]
    expected += [(1 - lam[i]) * F.cross_entropy(logits[i], other[i]) for i in range(5)]
    torch.testing.assert_close(batch_loss(model, x, own, other, lam), sum(expected) / 5)
    torch.testing.assert_close(batch_loss(model, x, own, None, None), F.cross_entropy(logits, own), rtol=0, atol=0)


@pytest.mark.parametrize("mixed", [False, True])
def test_weights_of_classes_are_factors_of_the_loss_of_each_segment(mixed: bool) -> None:
    """The oracle is torch's loss of one segment against probabilities, which it does not divide by their weights."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 4))
    x, own, other, lam = _batch(5)
    weights = torch.tensor([0.5, 2.0, 1.0, 3.0])
    targets = F.one_hot(own, 4).float()
    if mixed:
        targets = lam[:, None] * targets + (1 - lam[:, None]) * F.one_hot(other, 4)
    expected = F.cross_entropy(model(x), targets, weights)
    mix = (other, lam) if mixed else (None, None)
    torch.testing.assert_close(batch_loss(model, x, own, *mix, class_weights=weights), expected)
    chosen = loss_function(torch.device("cpu"), "float32", weights)
    torch.testing.assert_close(chosen(model, x, own, *mix), expected)


@pytest.mark.slow
def test_compiles_in_one_graph_that_serves_other_runs_and_batch_sizes() -> None:
    run = _compiled("aot_eager", "float32")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for size in (6, 5):
        for name in MODELS:
            x, own, other, lam = _batch(size)
            losses, gradients, states = [], [], []
            for function in (batch_loss, run):
                model = _model(name)
                torch.manual_seed(1)  # dropout
                losses.append(function(model, x, own, other, lam))
                losses[-1].backward()
                gradients.append([parameter.grad for parameter in model.parameters()])
                states.append(model.state_dict())
            torch.testing.assert_close(*losses)
            torch.testing.assert_close(*gradients)
            torch.testing.assert_close(*states, msg=lambda text, name=name: f"{name}: {text}")
    x, own, *_ = _batch(6)
    for size in (6, 3, 2, 1):
        losses = []
        for function in (batch_loss, run):
            torch.manual_seed(1)
            losses.append(function(model, x[:size], own[:size], None, None))
        torch.testing.assert_close(*losses)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == len(MODELS)


def test_gradients_reach_dense_blocks_in_channels_last() -> None:
    """A gradient in another layout would be copied by the operation, outside of the fused kernels."""
    layouts: list[bool] = []

    def note(graph: torch.fx.GraphModule, _: object) -> object:
        blocks = [node for node in graph.graph.nodes if "dense_block_backward" in str(node.target)]
        gradients = [block.args[0].meta["val"] for block in blocks]
        layouts.extend(gradient.is_contiguous(memory_format=torch.channels_last) for gradient in gradients)
        return make_boxed_func(graph.forward)

    torch._dynamo.reset()
    model, (x, own, *_) = _model("proposed"), _batch(3)
    require_kernel(x)
    backend = aot_autograd(fw_compiler=note, bw_compiler=note)
    torch.compile(batch_loss, fullgraph=True, backend=backend)(model, x, own, None, None).backward()
    assert layouts == [True, True]


def test_is_eager_on_a_cpu() -> None:
    chosen = loss_function(torch.device("cpu"), "bfloat16")
    assert isinstance(chosen, partial)
    assert (chosen.func, chosen.args) == (batch_loss, ())
    assert chosen.keywords == {"precision": "bfloat16", "class_weights": None}


@pytest.mark.parametrize("name", list(MODELS))
def test_bfloat16_stores_maps_and_nothing_else(name: str) -> None:
    model, batch = _model(name), _batch(6)
    maps: dict[str, torch.dtype] = {}
    for part, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | DenseBlock | Transition | LSTM | Highway | nn.BatchNorm2d):
            module.register_forward_hook(lambda _, __, result, part=part: maps.update({part: result.dtype}))
    loss = batch_loss(model, *batch, precision="bfloat16")
    loss.backward()
    assert len(maps) > 3
    assert set(maps.values()) == {torch.bfloat16}
    assert loss.dtype == torch.float32
    assert {value.dtype for value in model.state_dict().values()} <= {torch.float32, torch.int64}
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", list(MODELS))
def test_bfloat16_loss_and_gradients_are_near_float32(name: str) -> None:
    losses, gradients = [], []
    for precision in ("float32", "bfloat16"):
        model = _model(name).eval()
        losses.append(batch_loss(model, *_batch(6), precision=precision))
        losses[-1].backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert losses[0] != losses[1]
    torch.testing.assert_close(losses[1], losses[0], rtol=0.05, atol=0.02)
    assert (gradients[1] - gradients[0]).norm() < 0.1 * gradients[0].norm()


@on_gpu
@pytest.mark.parametrize("name", list(MODELS))
def test_compiled_loss_on_a_gpu_is_near_float32(name: str) -> None:
    model, batch = _model(name).cuda().eval(), [t.cuda() for t in _batch(6)]
    compiled = loss_function(torch.device("cuda"), "bfloat16")(model, *batch)
    exact = batch_loss(_model(name).eval(), *_batch(6))
    torch.testing.assert_close(compiled.cpu(), exact, rtol=0.05, atol=0.02)


@pytest.mark.fast
def test_a_stage_changes_nothing() -> None:
    with stage("forward"), pytest.raises(KeyError), stage("inner"):
        raise KeyError
