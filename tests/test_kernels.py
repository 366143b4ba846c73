"""Operations against plain nn modules, autograd in float64, and PyTorch's own checks of a registered operation."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from fastser_kernels import dense_block, gather_mixup, gather_segments, highway, lstm, transition
from torch import Tensor, nn
from torch.library import opcheck

LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "strided": lambda x: x.repeat_interleave(2, dim=3)[..., ::2],
}


def _norms(channels: list[int], dtype: torch.dtype = torch.float32) -> list[nn.BatchNorm2d]:
    norms = [nn.BatchNorm2d(c, dtype=dtype) for c in channels]
    for norm in norms:
        for value in (norm.weight, norm.running_var):
            nn.init.uniform_(value, 0.5, 1.5)
        for value in (norm.bias, norm.running_mean):
            nn.init.normal_(value)
    return norms


def _parameters(norms: list[nn.BatchNorm2d]) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    """Weights, biases, and copies of the running means and variances."""
    return (
        [norm.weight for norm in norms],
        [norm.bias for norm in norms],
        [norm.running_mean.clone() for norm in norms],
        [norm.running_var.clone() for norm in norms],
    )


def _same_gradients(actual: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    cotangent = torch.randn_like(expected)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        torch.autograd.grad(actual, inputs, cotangent), torch.autograd.grad(expected, inputs, cotangent)
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_dense_block_equals_modules(layout: str, training: bool) -> None:
    torch.manual_seed(0)
    norms = _norms([5, 8, 11])
    kernels = [nn.Parameter(torch.randn(3, norm.num_features, 3, 3)) for norm in norms]
    weight, bias, mean, var = _parameters(norms)
    x = (LAYOUTS[layout](torch.randn(2, 5, 7, 6)) * 0.5 - 2.3).requires_grad_()
    actual = dense_block(x, weight, bias, mean, var, kernels, training=training, momentum=0.1, eps=1e-5)
    expected = x
    for norm, kernel in zip(norms, kernels, strict=True):
        new = F.conv2d(F.relu(norm.train(training)(expected)), kernel, padding=1)
        expected = torch.cat([expected, new], dim=1)
    for i, norm in enumerate(norms):
        torch.testing.assert_close((mean[i], var[i]), (norm.running_mean, norm.running_var))
    _same_gradients(actual, expected, [x, *weight, *bias, *kernels])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_transition_equals_modules_that_pool_last(layout: str, training: bool) -> None:
    torch.manual_seed(0)
    (norm,) = _norms([5])
    kernel = nn.Parameter(torch.randn(4, 5, 1, 1))
    (weight,), (bias,), (mean,), (var,) = _parameters([norm])
    x = LAYOUTS[layout](torch.randn(2, 5, 7, 6)).requires_grad_()
    actual = transition(x, weight, bias, mean, var, kernel, training=training, momentum=0.1, eps=1e-5)
    expected = F.avg_pool2d(F.conv2d(F.relu(norm.train(training)(x)), kernel), 2)
    torch.testing.assert_close((mean, var), (norm.running_mean, norm.running_var))
    _same_gradients(actual, expected, [x, weight, bias, kernel])


def test_highway_equals_formula() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 6, requires_grad=True)
    hidden, gates = ([nn.Linear(6, 6) for _ in range(3)] for _ in range(2))
    weights = [[layer.weight for layer in layers] for layers in (hidden, gates)]
    biases = [[layer.bias for layer in layers] for layers in (hidden, gates)]
    expected = x
    for h, g in zip(hidden, gates, strict=True):
        t = torch.sigmoid(g(expected))
        expected = torch.relu(h(expected)) * t + expected * (1 - t)
    actual = highway(x, weights[0], biases[0], weights[1], biases[1])
    _same_gradients(actual, expected, [x, *weights[0], *biases[0], *weights[1], *biases[1]])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layout", ["contiguous", "strided", "expanded"])
def test_lstm_equals_nn_lstm(layout: str, reverse: bool) -> None:
    torch.manual_seed(0)
    reference = nn.LSTM(7, 5, batch_first=True)
    parameters = list(reference.parameters())
    x = {
        "contiguous": torch.randn(3, 6, 7),
        "strided": torch.randn(6, 14, 3).permute(2, 0, 1)[..., ::2],
        "expanded": torch.randn(3, 1, 7).expand(3, 6, 7),
    }[layout].requires_grad_()
    expected = reference(x.flip(1))[0].flip(1) if reverse else reference(x)[0]
    _same_gradients(lstm(x, *parameters, reverse=reverse), expected, [x, *parameters])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lstm_in_low_precision_stays_near_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    arguments = [p.detach() for p in (torch.randn(3, 6, 7), *nn.LSTM(7, 5).parameters())]
    actual = lstm(*(a.to(dtype) for a in arguments), reverse=False)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.float(), lstm(*arguments, reverse=False), rtol=0, atol=2e-2)


def _leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def _gradcheck_cases() -> dict[str, tuple[Callable[..., Tensor], list[Tensor]]]:
    statistics = [torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)]
    wider = [torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)]

    def block(x: Tensor, g1: Tensor, g2: Tensor, b1: Tensor, b2: Tensor, k1: Tensor, k2: Tensor) -> Tensor:
        running = [[a.clone(), b.clone()] for a, b in zip(statistics, wider, strict=True)]
        return dense_block(x, [g1, g2], [b1, b2], *running, [k1, k2], training=True, momentum=0.1, eps=1e-5)

    def halve(x: Tensor, g: Tensor, b: Tensor, k: Tensor) -> Tensor:
        running = [value.clone() for value in statistics]
        return transition(x, g, b, *running, k, training=True, momentum=0.1, eps=1e-5)

    recurrent = [_leaf(2, 3, 4), _leaf(8, 4), _leaf(8, 2), _leaf(8), _leaf(8)]
    return {
        "dense_block": (
            block,
            [_leaf(2, 3, 3, 2), _leaf(3), _leaf(5), _leaf(3), _leaf(5), _leaf(2, 3, 3, 3), _leaf(2, 5, 3, 3)],
        ),
        "transition": (halve, [_leaf(2, 3, 5, 4), _leaf(3), _leaf(3), _leaf(2, 3, 1, 1)]),
        "highway": (
            lambda x, *w: highway(x, list(w[:2]), list(w[2:4]), list(w[4:6]), list(w[6:])),
            [_leaf(3, 4), *(_leaf(*shape) for shape in [(4, 4), (4, 4), (4,), (4,)] * 2)],
        ),
        "lstm": (lambda *a: lstm(*a, reverse=False), recurrent),
        "lstm, reverse": (lambda *a: lstm(*a, reverse=True), recurrent),
    }


@pytest.mark.parametrize("case", ["dense_block", "transition", "highway", "lstm", "lstm, reverse"])
def test_gradients_in_float64(case: str) -> None:
    torch.manual_seed(0)
    function, inputs = _gradcheck_cases()[case]
    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lstm_operations_are_registered_rightly(dtype: torch.dtype, reverse: bool) -> None:
    operations = torch.ops.fastser_kernels
    projected, w_hh = torch.randn(2, 3, 8, dtype=dtype).transpose(0, 1), torch.randn(8, 2, dtype=dtype)
    opcheck(operations.lstm_recurrence.default, (projected, w_hh, reverse))
    hidden, gates, cell = operations.lstm_recurrence.default(projected, w_hh, reverse)
    opcheck(operations.lstm_recurrence_backward.default, (torch.randn_like(hidden), w_hh, gates, cell, reverse))


def test_lstm_skips_the_weight_gradient_of_frozen_weights() -> None:
    arguments = [p.detach() for p in nn.LSTM(4, 2).parameters()]
    x = torch.randn(2, 3, 4, requires_grad=True)
    hidden = lstm(x, *arguments, reverse=False)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        torch.autograd.grad(hidden, x, torch.randn_like(hidden))
    assert sum(event.count for event in profile.key_averages() if event.key == "aten::mm") == 1


MEAN, STD = 1.5, 2.0


def _bank() -> Tensor:
    return torch.randn(20, 3, generator=torch.Generator().manual_seed(0))


def test_gather_segments_normalises_and_then_pads() -> None:
    frames, start, length = _bank(), torch.tensor([0, 4, 17, 20]), torch.tensor([9, 5, 3, 0])
    segments = gather_segments(frames, start, length, MEAN, torch.tensor(STD), 5)
    assert segments.shape == (4, 5, 3)
    for i in range(4):
        real = frames[start[i] : start[i] + min(int(length[i]), 5)]
        torch.testing.assert_close(segments[i, : len(real)], (real - MEAN) / STD)
        assert (segments[i, len(real) :] == 0).all()
    assert torch.equal(frames, _bank())


def test_gather_mixup_is_a_mixture_of_two_gathers() -> None:
    frames, lam = _bank(), torch.tensor([0.0, 0.3, 1.0])
    start_a, length_a, start_b, length_b = torch.tensor([[0, 5, 9], [5, 3, 4], [12, 2, 0], [2, 5, 5]])
    mixed = gather_mixup(frames, start_a, length_a, start_b, length_b, lam, MEAN, STD, 5)
    a = gather_segments(frames, start_a, length_a, MEAN, STD, 5)
    b = gather_segments(frames, start_b, length_b, MEAN, STD, 5)
    torch.testing.assert_close(mixed, lam[:, None, None] * a + (1 - lam[:, None, None]) * b)
    assert torch.equal(mixed[0], b[0])
    assert torch.equal(mixed[2], a[2])


@pytest.mark.parametrize(("start", "length"), [(-1, 3), (18, 3), (0, -1), (2**63 - 1, 3)])
def test_gather_refuses_a_start_outside_the_bank(start: int, length: int) -> None:
    with pytest.raises(IndexError, match=r"start\[1\] = .* leaves the bank of 20 frames"):
        gather_segments(_bank(), torch.tensor([0, start]), torch.tensor([1, length]), MEAN, STD, 5)


def test_wrong_shapes_name_the_argument() -> None:
    x, one, six = torch.randn(2, 3, 4, 4), [torch.ones(3)], [torch.zeros(3)]
    with pytest.raises(ValueError, match=r"conv_weight\[0\] must be \[2, 3, 3, 3\]"):
        dense_block(x, one, six, six, one, [torch.ones(2, 4, 3, 3)], training=True, momentum=0.1, eps=1e-5)
    with pytest.raises(ValueError, match=r"x must be \[N, C, T, F\]"):
        dense_block(x[0], one, six, six, one, [torch.ones(2, 3, 3, 3)], training=True, momentum=0.1, eps=1e-5)
    kernel = torch.ones(2, 3, 3, 3)
    with pytest.raises(ValueError, match="bn_bias must hold 1 tensors as conv_weight does, got 2"):
        dense_block(x, one, six * 2, six, one, [kernel], training=True, momentum=0.1, eps=1e-5)
    with pytest.raises(ValueError, match=r"running_var\[0\] must be \[3\], got \[2\]"):
        dense_block(x, one, six, six, [torch.ones(2)], [kernel], training=True, momentum=0.1, eps=1e-5)
    with pytest.raises(ValueError, match="conv_weight must hold at least one kernel"):
        dense_block(x, [], [], [], [], [], training=True, momentum=0.1, eps=1e-5)
    with pytest.raises(ValueError, match=r"running_mean must be \[3\]"):
        transition(x, *one, *six, torch.zeros(2), *one, torch.ones(2, 3, 1, 1), training=True, momentum=0.1, eps=1e-5)
    with pytest.raises(ValueError, match=r"x must be \[N, U\]"):
        highway(torch.ones(3), [torch.ones(3, 3)], six, [torch.ones(3, 3)], six)
    with pytest.raises(ValueError, match="conv_weight must be"):
        transition(x, *one, *six, *six, *one, torch.ones(2, 3, 3, 3), training=True, momentum=0.1, eps=1e-5)
    with pytest.raises(ValueError, match=r"w_t\[0\] must be \[3, 3\]"):
        highway(torch.ones(2, 3), [torch.ones(3, 3)], six, [torch.ones(4, 3)], six)
    w_ih, w_hh, bias = torch.ones(8, 4), torch.ones(8, 2), torch.ones(8)
    with pytest.raises(ValueError, match=r"w_ih must be \[8, 5\]"):
        lstm(torch.ones(1, 3, 5), w_ih, w_hh, bias, bias, False)
    with pytest.raises(ValueError, match=r"b_hh must be \[8\]"):
        lstm(torch.ones(1, 3, 4), w_ih, w_hh, bias, bias[1:], False)
    index = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="frames must be"):
        gather_segments(torch.ones(4), index, index, 0.0, 1.0, 2)
    with pytest.raises(ValueError, match="start and length"):
        gather_segments(_bank(), index, index[:1], 0.0, 1.0, 2)
    with pytest.raises(ValueError, match=r"lam must be \[2\]"):
        gather_mixup(_bank(), index, index, index, index, torch.ones(3), 0.0, 1.0, 2)
