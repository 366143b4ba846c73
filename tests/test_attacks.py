"""Attacks: equality with foolbox, an unchanged model, and the CUDA graphs that they keep."""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import MagicMock

import foolbox
import pytest
import torch
from cases import OperationsSeen, on_gpu
from torch import Tensor, nn

from fastser.attacks import BIM, FGSM, bim
from fastser.models import build_model
from fastser.runtime import cuda_graphs
from fastser.runtime.cuda_graphs import CannotCapture
from fastser.settings import QUICK

EPS, ALPHA, STEPS = 0.08, 0.08 / 20.4, 24


def _model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, settings=QUICK.model, segment_frames=32, num_bins=32)


def _batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 32, 32, generator=generator), torch.randint(4, (6,), generator=generator)


def _foolbox(attack: foolbox.Attack, model: nn.Module, x: Tensor, y: Tensor, bounds: tuple[float, float]) -> Tensor:
    wrapped = foolbox.PyTorchModel(model.eval(), bounds=bounds, device="cpu")
    _, clipped, _ = attack(wrapped, x, y, epsilons=EPS)
    return clipped


@pytest.mark.parametrize("bounds", [(-100.0, 100.0), (-1.0, 1.0)])
@pytest.mark.parametrize("name", ["cnn", "proposed"])
def test_attacks_equal_foolbox(name: str, bounds: tuple[float, float]) -> None:
    model, (x, y) = _model(name), _batch()
    x = x.clamp(*bounds)
    fgsm = _foolbox(foolbox.attacks.LinfFastGradientAttack(random_start=False), model, x, y, bounds)
    torch.testing.assert_close(FGSM(model, EPS, bounds)(x, y), fgsm, rtol=0, atol=1e-6)
    attack = foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=ALPHA, steps=STEPS, random_start=False)
    bim = _foolbox(attack, model, x, y, bounds)
    torch.testing.assert_close(BIM(model, EPS, ALPHA, STEPS, bounds)(x, y), bim, rtol=0, atol=1e-6)


@pytest.mark.fast
def test_bim_raises_the_loss_more_than_fgsm_within_the_ball() -> None:
    model, (x, y) = _model("densenet-lstm"), _batch()
    fgsm, bim = FGSM(model, EPS)(x, y), BIM(model, EPS, ALPHA, STEPS)(x, y)
    model.eval()
    clean, by_fgsm, by_bim = (nn.functional.cross_entropy(model(v), y) for v in (x, fgsm, bim))
    assert clean < by_fgsm < by_bim
    assert (bim - x).abs().max() <= EPS + 1e-6
    assert not bim.requires_grad


def test_the_model_is_unchanged_also_after_an_error() -> None:
    model, (x, y) = _model("proposed"), _batch()
    frozen = model.get_submodule("block1.denselayer1")
    frozen.eval().requires_grad_(False)
    modes = [module.training for module in model.modules()]
    trained = [parameter.requires_grad for parameter in model.parameters()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [torch.randn_like(parameter) for parameter in model.parameters()]
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.grad = gradient.clone() if parameter.requires_grad else None
    x_before = x.clone()

    with torch.no_grad():
        BIM(model, EPS, ALPHA, 2)(x, y)
    with pytest.raises(ValueError, match="batch, frames, bins"):
        FGSM(model, EPS)(x[0], y)

    assert torch.equal(x, x_before)
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == trained
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is None if not parameter.requires_grad else torch.equal(parameter.grad, gradient)


def test_only_the_input_gradient_is_computed() -> None:
    seen = []

    class Spy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((self.training, self.weight.requires_grad))
            return super().forward(x)

    model = Spy(8, 4)
    BIM(model, EPS, ALPHA, 3)(torch.randn(2, 8), torch.tensor([0, 3]))
    assert seen == [(False, False)] * 3


@pytest.mark.parametrize("name", ["proposed", "densenet"])
def test_no_operation_computes_a_weight_gradient(name: str) -> None:
    model, (x, y) = _model(name), _batch()
    with OperationsSeen() as operations:
        BIM(model, EPS, ALPHA, 1)(x, y)
    backward = [(name, args) for name, args in operations.seen if name.endswith("_backward")]
    blocks = {name: args[-1] for name, args in backward if name.startswith("fastser_kernels::")}
    assert blocks["fastser_kernels::dense_block_backward"] is True
    assert blocks["fastser_kernels::transition_pool_backward"] is True
    masks = [args[-1] for name, args in backward if name == "aten::convolution_backward"]
    assert masks
    assert all(mask == [True, False, False] for mask in masks)


class _Recorder:
    """Stand-in for CUDA graphs: a replay runs the recorded step."""

    recorded = 0

    def __init__(self, device: torch.device) -> None:
        self.step: Callable[[], None]

    def record(self, step: Callable[[], None]) -> Any:
        for _ in range(cuda_graphs.WARM_UP_STEPS):
            step()
        _Recorder.recorded += 1
        graph = copy.copy(self)
        graph.step = step
        return graph

    def replay(self) -> None:
        self.step()


@pytest.fixture
def without_cuda(monkeypatch: pytest.MonkeyPatch) -> type[_Recorder]:
    """Attacks on CPU tensors take the code path of the GPU."""
    monkeypatch.setattr(bim, "replayable", lambda x: True)
    monkeypatch.setattr(cuda_graphs, "Recorder", _Recorder)
    monkeypatch.setattr(_Recorder, "recorded", 0)
    return _Recorder


def _loop(attack: BIM, x: Tensor, y: Tensor) -> Tensor:
    """Run an attack without graphs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bim, "replayable", lambda x: False)
        return attack(x, y)


def test_replays_equal_the_loop_with_one_capture_per_kind_of_batch(without_cuda: type[_Recorder]) -> None:
    attack, (x, y) = BIM(_model("cnn"), EPS, ALPHA, 5, (-2.0, 2.0)), _batch()
    for batch in (x, x.flip(0), x[:2], x[1:3], x.mT.contiguous().mT, x):
        labels = y[: len(batch)]
        assert torch.equal(attack(batch, labels), _loop(attack, batch, labels))
    assert without_cuda.recorded == 3
    assert torch.equal(copy.deepcopy(attack)(x, y), attack(x, y))
    assert without_cuda.recorded == 4
    for size in range(
        1, cuda_graphs.MAX_GRAPHS + 2
    ):  # 2 and 6 have graphs; the transposed batch is the least recently used
        attack(x.repeat(2, 1, 1)[:size], y.repeat(2)[:size])
    assert len(attack._graphs) == cuda_graphs.MAX_GRAPHS
    assert without_cuda.recorded == 4 + cuda_graphs.MAX_GRAPHS - 1
    attack(x.mT.contiguous().mT, y)
    FGSM(attack.model, EPS)(x, y)
    BIM(attack.model, EPS, ALPHA, cuda_graphs.WARM_UP_STEPS)(x, y)
    assert without_cuda.recorded == 4 + cuda_graphs.MAX_GRAPHS


def test_graphs_are_captured_again_when_the_model_has_moved(without_cuda: type[_Recorder]) -> None:
    model, (x, y) = _model("cnn"), _batch()
    attack = BIM(model, EPS, ALPHA, 4)
    other = {name: value * 0.5 for name, value in model.state_dict().items()}

    def in_place() -> None:
        for parameter in model.parameters():
            parameter.data.mul_(1.5)

    for change, recorded in (
        (in_place, 1),
        (lambda: model.load_state_dict(other), 1),
        (lambda: model.load_state_dict(other, assign=True), 2),
        (lambda: model.double(), 3),
    ):
        attack(x, y)
        change()
        batch = x.to(next(model.parameters()).dtype)
        assert torch.equal(attack(batch, y), _loop(attack, batch, y))
        assert without_cuda.recorded == recorded


def test_a_model_that_cannot_be_captured_is_attacked_step_by_step(
    without_cuda: type[_Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    attack, (x, y) = BIM(_model("cnn"), EPS, ALPHA, 4), _batch()
    record = without_cuda.record

    def refuse(self: _Recorder, step: Callable[[], None]) -> None:
        record(self, step)
        raise CannotCapture("it waits")

    monkeypatch.setattr(without_cuda, "record", refuse)
    with pytest.warns(UserWarning, match="without a CUDA graph, since its step cannot be captured: it waits") as caught:
        assert torch.equal(attack(x, y), _loop(attack, x, y))
    assert caught[0].filename == __file__
    assert torch.equal(attack(x[:2], y[:2]), _loop(attack, x[:2], y[:2]))


class _Waiting(nn.Linear):
    """Model that waits for the GPU by name, which PyTorch's debug mode does not notice."""

    def forward(self, x: Tensor) -> Tensor:
        torch.cuda.synchronize()
        return super().forward(x.flatten(1))


class _Invalid(nn.Linear):
    """Model that fails during a capture."""

    capturing = False

    def forward(self, x: Tensor) -> Tensor:
        if _Invalid.capturing:
            raise RuntimeError("operation not permitted when stream is capturing")
        return super().forward(x.flatten(1))


@contextmanager
def _capture_that_ends_with_an_error(*_: object, **__: object) -> Iterator[None]:
    _Invalid.capturing = True
    try:
        yield
    finally:
        _Invalid.capturing = False
    raise RuntimeError("operation failed due to a previous error during capture")


@pytest.mark.parametrize(
    ("model", "reason"), [(_Waiting, "it calls torch.cuda.synchronize"), (_Invalid, "not permitted when stream is")]
)
def test_a_model_that_would_make_a_capture_invalid_is_attacked_step_by_step(
    model: type[nn.Linear], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorder runs with stand-ins for streams and captures."""
    for name, stand_in in {
        "synchronize": lambda: None,
        "get_sync_debug_mode": lambda: 0,
        "set_sync_debug_mode": lambda _: None,
        "current_stream": MagicMock(),
        "stream": lambda _: nullcontext(),
        "graph_pool_handle": lambda: None,
        "CUDAGraph": object,
        "graph": _capture_that_ends_with_an_error,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(bim, "replayable", lambda x: True)
    monkeypatch.setattr(cuda_graphs, "side_stream", MagicMock())
    attack, (x, y) = BIM(model(32 * 32, 4), EPS, ALPHA, 4), _batch()
    with pytest.warns(UserWarning, match=f"cannot be captured: .*{reason}"):
        adversarial = attack(x, y)
    assert torch.equal(adversarial, _loop(attack, x, y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(attack(x, y), adversarial)


class _Branch(nn.Module):
    """Model that reads its values on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(32 * 32, 4)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.linear(x.flatten(1))
        return scores if scores.sum() > 1e9 else 2 * scores


@on_gpu
class TestOnGPU:
    @pytest.mark.parametrize("name", ["cnn", "densenet", "proposed", "cnn-lstm"])
    def test_replays_equal_the_loop_in_all_bits_without_waiting(self, name: str) -> None:
        model, batch = _model(name).cuda(), tuple(t.cuda() for t in _batch())
        attack = BIM(model, EPS, ALPHA, STEPS)
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            for x, y in (batch, (batch[0][:2], batch[1][:2])):
                expected = _loop(attack, x, y)
                assert torch.equal(attack(x, y), expected)
                torch.cuda.set_sync_debug_mode("error")
                try:
                    again = attack(x, y)
                finally:
                    torch.cuda.set_sync_debug_mode("default")
                assert torch.equal(again, expected)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(1.1)
            assert torch.equal(attack(*batch), _loop(attack, *batch))

    def test_a_model_that_waits_is_detected_before_the_capture(self) -> None:
        torch.manual_seed(0)
        attack, (x, y) = BIM(_Branch().cuda(), EPS, ALPHA, 5), (t.cuda() for t in _batch())
        with pytest.warns(UserWarning, match="synchronizing"):
            adversarial = attack(x, y)
        assert torch.equal(adversarial, _loop(attack, x, y))

    def test_memory_is_freed_with_the_attack(self) -> None:
        model, (x, y) = _model("proposed").cuda(), (t.cuda() for t in _batch())
        BIM(model, EPS, ALPHA, 3)(x, y)
        torch.cuda.empty_cache()
        before = torch.cuda.memory_reserved()
        attack = BIM(model, EPS, ALPHA, 3)
        attack(x, y)
        assert torch.cuda.memory_reserved() > before
        del attack
        torch.cuda.empty_cache()
        assert torch.cuda.memory_reserved() <= before


def test_bad_arguments_are_named() -> None:
    model = nn.Identity()
    with pytest.raises(ValueError, match="eps and alpha"):
        FGSM(model, -0.1)
    with pytest.raises(ValueError, match="steps"):
        BIM(model, 0.1, 0.01, 0)
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got <built-in method relu"):
        FGSM(torch.relu, 0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.5, 0.5), (float("nan"), 1.0)])
def test_empty_bounds_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="bounds must be"):
        FGSM(nn.Identity(), 0.1, bounds=bounds)


@pytest.mark.parametrize(("eps", "alpha"), [(float("nan"), 0.01), (0.1, float("nan")), (1.0, float("inf"))])
def test_sizes_that_would_make_nan_inputs_are_refused(eps: float, alpha: float) -> None:
    with pytest.raises(ValueError, match=f"got {eps} and {alpha}"):
        BIM(nn.Identity(), eps, alpha, 2)


@pytest.mark.parametrize("label", [-100, -1, 3])
def test_labels_out_of_range_are_refused(label: int) -> None:
    """-100 is the label that cross_entropy ignores by default. Its sample would count as robust."""
    with pytest.raises(IndexError, match=f"Target {label} is out of bounds"):
        FGSM(nn.Linear(8, 3), 0.1)(torch.randn(2, 8), torch.tensor([0, label]))


def test_class_probabilities_are_labels_too() -> None:
    model, x, y = nn.Linear(8, 3), torch.randn(4, 8), torch.tensor([0, 1, 2, 0])
    attack = FGSM(model, 0.1)
    torch.testing.assert_close(attack(x, nn.functional.one_hot(y, 3).float()), attack(x, y))


class _Wrapped(nn.Module):
    """A model whose output passes through a function."""

    def __init__(self, output: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 3)
        self.output = output

    def forward(self, x: Tensor) -> Any:
        return self.output(self.inner(x))


@pytest.mark.parametrize(
    ("output", "kind"), [(lambda y: (y, y), "tuple"), (lambda y: {"logits": y}, "dict"), (lambda _: None, "NoneType")]
)
def test_a_model_that_returns_no_tensor_is_named(output: Callable[[Tensor], Any], kind: str) -> None:
    with pytest.raises(TypeError, match=f"the model must return logits, .*, not a {kind}"):
        FGSM(_Wrapped(output), 0.1)(torch.randn(2, 8), torch.tensor([0, 1]))


@pytest.mark.parametrize("output", [torch.Tensor.detach, lambda y: y.argmax(1)], ids=["detach", "argmax"])
def test_logits_without_a_gradient_are_named(output: Callable[[Tensor], Any]) -> None:
    with pytest.raises(ValueError, match="the logits of the model have no gradient"):
        FGSM(_Wrapped(output), 0.1)(torch.randn(2, 8), torch.tensor([0, 1]))
