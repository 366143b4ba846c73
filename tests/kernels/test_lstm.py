"""The LSTM in every tier."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from accuracy import CAPS, assert_accurate, relative_error
from cases import REGISTERED_DTYPES, assert_refused, compiled, normal, on_gpu, replaced
from fastser_kernels import lstm
from fastser_kernels.chips import WITHOUT_GPU, Chip
from fastser_kernels.lstm import op, reference
from torch import Tensor, nn
from torch.library import opcheck

NAMES = ("grad x", "grad w_ih", "grad w_hh", "grad b_ih", "grad b_hh")
SHAPES = {"small": (3, 6, 7, 5), "one step": (2, 1, 3, 16), "two programs": (17, 4, 5, 20)}
"""Sizes N, T, I and H."""
COTANGENTS: dict[str, Callable[[int, int, int], Tensor]] = {
    "contiguous": torch.randn,
    "units apart": lambda N, T, H: torch.randn(N, H, T).transpose(1, 2),
    "expanded over units": lambda N, T, H: torch.randn(N, T, 1).expand(N, T, H),
    "expanded over steps": lambda N, T, H: torch.randn(N, 1, H).expand(N, T, H),
}


def _parameters(features: int, units: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> list[Tensor]:
    return [p.detach().to(device, dtype) for p in nn.LSTM(features, units).parameters()]


def _run(
    function: Callable[..., Tensor], x: Tensor, parameters: list[Tensor], cotangent: Tensor, reverse: bool
) -> dict[str, Tensor]:
    """Return hidden states and all gradients."""
    inputs = [t.detach().requires_grad_() for t in (x, *parameters)]
    hidden = function(*inputs, reverse)
    gradients = torch.autograd.grad(hidden, inputs, cotangent.to(hidden.dtype))
    return {"hidden": hidden} | dict(zip(NAMES, gradients, strict=True))


def _nn_lstm(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, reverse: bool) -> Tensor:
    module = nn.LSTM(w_ih.shape[1], w_hh.shape[1], batch_first=True, dtype=x.dtype, device=x.device)
    values = dict(zip(module.state_dict(), (w_ih, w_hh, b_ih, b_hh), strict=True))
    hidden, _ = torch.func.functional_call(module, values, (x.flip(1) if reverse else x,))
    return hidden.flip(1) if reverse else hidden  # type: ignore[no-any-return]


def _compare(x: Tensor, parameters: list[Tensor], cotangent: Tensor, reverse: bool) -> None:
    actual = _run(lstm, x, parameters, cotangent, reverse)
    eager = _run(reference.lstm, x, parameters, cotangent, reverse)
    exact = _run(_nn_lstm, x.double(), [p.double() for p in parameters], cotangent.double(), reverse)
    for name, value in actual.items():  # gradients of fp32 parameters too are computed from values of the dtype of x
        assert_accurate(value, eager[name], exact[name], name, cap=CAPS[x.dtype])


@pytest.mark.kernel
@normal
@pytest.mark.parametrize(
    ("shape", "reverse"), [("small", False), ("small", True), ("one step", True), ("two programs", False)]
)
def test_values_and_gradients(
    shape: str, reverse: bool, normal: dict[str, float], dtype: torch.dtype, device: str
) -> None:
    N, T, features, units = SHAPES[shape]
    x = torch.empty(N, T, features).normal_(**normal).to(device, dtype)
    _compare(x, _parameters(features, units, device=device), torch.randn(N, T, units).to(device, dtype), reverse)


@pytest.mark.kernel
@pytest.mark.parametrize("cotangent", COTANGENTS)
@pytest.mark.parametrize("layout", ["strided", "expanded"])
def test_takes_any_layout_and_parameters_of_its_own_dtype(
    layout: str, cotangent: str, dtype: torch.dtype, device: str
) -> None:
    strided, expanded = torch.randn(4, 14, 3).permute(2, 0, 1)[..., ::2], torch.randn(3, 1, 7).expand(3, 4, 7)
    x = (strided if layout == "strided" else expanded).to(device, dtype)
    _compare(x, _parameters(7, 5, dtype, device), COTANGENTS[cotangent](3, 4, 5).to(device, dtype), reverse=True)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("units", "chip"),
    [
        (128, WITHOUT_GPU),
        (128, replace(WITHOUT_GPU, shared_memory=99 * 1024)),
        (128, replace(WITHOUT_GPU, architecture="gfx1100", shared_memory=64 * 1024)),
        (144, WITHOUT_GPU),
        (257, WITHOUT_GPU),
    ],
)
def test_many_units(units: int, chip: Chip, dtype: torch.dtype, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = pytest.importorskip("fastser_kernels.lstm.kernels", reason="Triton is not installed")
    monkeypatch.setattr(kernels, "chip_of", lambda _: chip)
    x, cotangent = torch.randn(2, 3, 4).to(device, dtype), torch.randn(2, 3, units).to(device, dtype)
    _compare(x, _parameters(4, units, device=device), cotangent, reverse=False)


@pytest.mark.kernel
def test_operations_take_any_strides(device: str) -> None:
    projected, w_hh = torch.randn(20, 3, 4).to(device).permute(2, 1, 0), torch.randn(5, 20).to(device).t()
    grad_hidden = torch.randn(3, 5, 4).to(device).permute(2, 0, 1)
    results = op._forward(projected, w_hh, False)
    expected = op._forward(projected.contiguous(), w_hh.contiguous(), False)
    torch.testing.assert_close(results, expected)
    saved = [t.transpose(0, 2).contiguous().transpose(0, 2) for t in results[1:]]
    torch.testing.assert_close(
        op._backward(grad_hidden, w_hh, *saved, False),
        op._backward(grad_hidden.contiguous(), w_hh.contiguous(), *expected[1:], False),
    )


@pytest.mark.kernel
def test_the_cell_adds_up_what_its_dtype_could_not(dtype: torch.dtype, device: str) -> None:
    """All gates are open, and small inputs follow a large one: a bfloat16 cell would not change any more."""
    x = torch.full((1, 33, 1), 0.0015)
    x[:, 0] = 0.6
    w_ih, bias = torch.tensor([0.0, 0.0, 1.0, 0.0]), torch.tensor([30.0, 30.0, 0.0, 30.0])
    parameters = [t.to(device) for t in (w_ih[:, None], torch.zeros(4, 1), bias, torch.zeros(4))]
    hidden = lstm(x.to(device, dtype), *parameters, False)
    exact = x.to(dtype).double().tanh().cumsum(1).tanh()
    assert relative_error(hidden[:, -1].cpu(), exact[:, -1]) < CAPS[dtype] / 4


@pytest.mark.fast
@pytest.mark.kernel
def test_small_states_keep_their_digits(device: str) -> None:
    w_ih, w_hh, b_ih, b_hh = _parameters(7, 5, device=device)
    x, cotangent = 1e-3 * torch.randn(3, 4, 7).to(device), torch.randn(3, 4, 5).to(device)
    _compare(x, [w_ih, w_hh, 0 * b_ih, 0 * b_hh], cotangent, reverse=False)


@pytest.mark.kernel
def test_saturated_gates_are_finite(dtype: torch.dtype, device: str) -> None:
    parameters = _parameters(3, 4, dtype, device)
    x = torch.tensor([-1e4, 1e4, 1e4]).expand(2, 3, 3).to(device, dtype)
    _compare(x, [100 * parameters[0], *parameters[1:]], torch.randn(2, 3, 4).to(device, dtype), reverse=False)


@pytest.mark.kernel
def test_an_empty_batch_is_no_error(device: str) -> None:
    x = torch.empty(0, 3, 4, device=device, requires_grad=True)
    hidden = lstm(x, *_parameters(4, 5, device=device), False)
    assert hidden.shape == (0, 3, 5)
    assert torch.autograd.grad(hidden.sum(), x)[0].shape == x.shape


@pytest.mark.parametrize(("dtype", "reverse"), [*zip(REGISTERED_DTYPES, [False, True, False], strict=True)])
def test_passes_opcheck(dtype: torch.dtype, reverse: bool) -> None:
    projected, w_hh = torch.randn(2, 3, 8).to(dtype).transpose(0, 1), torch.randn(8, 2).to(dtype)
    opcheck(op._forward, (projected, w_hh, reverse))
    hidden, gates, cell = op._forward(projected, w_hh, reverse)
    assert cell.dtype == torch.promote_types(dtype, torch.float32)
    opcheck(op._backward, (torch.randn_like(hidden), w_hh, gates, cell, reverse))


@pytest.mark.parametrize("reverse", [False, True])
def test_gradcheck(reverse: bool) -> None:
    inputs = [t.requires_grad_() for t in (torch.randn(2, 3, 4).double(), *_parameters(4, 2, torch.float64))]
    assert torch.autograd.gradcheck(lambda *inputs: lstm(*inputs, reverse), inputs)


@pytest.mark.parametrize("reverse", [False, True])
def test_compiled_equals_eager(reverse: bool) -> None:
    x, parameters, cotangent = torch.randn(2, 3, 4).double(), _parameters(4, 2, torch.float64), torch.randn(2, 3, 2)
    actual = _run(compiled(lstm), x, parameters, cotangent, reverse)
    for eager in (lstm, reference.lstm):
        torch.testing.assert_close(actual, _run(eager, x, parameters, cotangent, reverse))


def test_no_parameter_gradient_where_none_is_asked_for() -> None:
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    hidden = lstm(x, *_parameters(4, 2, torch.float64), False)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        torch.autograd.grad(hidden, x, torch.randn_like(hidden))
    assert sum(event.count for event in profile.key_averages() if event.key == "aten::mm") == 1


def test_under_autocast_the_state_has_its_dtype() -> None:
    x, parameters = torch.randn(2, 3, 4), _parameters(4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = lstm(x, *parameters, False)
    assert hidden.dtype == torch.bfloat16
    assert_accurate(hidden, lstm(x.bfloat16(), *parameters, False), lstm(x, *parameters, False), "hidden")


@on_gpu
def test_at_full_size_bits_repeat_and_memory_is_that_of_the_results() -> None:
    parameters, x = _parameters(1024, 128, device="cuda"), torch.randn(64, 64, 1024, device="cuda").bfloat16()
    cotangent = torch.randn(64, 64, 128, device="cuda")
    _compare(x, parameters, cotangent, reverse=False)
    first, second = (_run(lstm, x, parameters, cotangent, reverse=False) for _ in range(2))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    projected, w_hh = torch.randn(64, 64, 512, device="cuda").bfloat16(), parameters[1].bfloat16()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    results = op._forward(projected, w_hh, False)
    assert torch.cuda.max_memory_allocated() - before <= sum(t.nbytes for t in results) + 4096


def test_wrong_arguments_are_named() -> None:
    x, parameters = torch.ones(1, 3, 4), _parameters(4, 2)
    wrong = [
        ((x[0], *parameters), ValueError, r"x must be \[N, T, I\], got \[3, 4\]"),
        ((x[:, :0], *parameters), ValueError, r"x must have at least one step, got \[1, 0, 4\]"),
        ((x.long(), *parameters), TypeError, r"x must be floating point, got int64"),
        ((x[..., :3], *parameters), ValueError, r"w_ih must be \[8, 3\], got \[8, 4\]"),
        ((x, *replaced(parameters, 1, torch.ones(8))), ValueError, r"w_hh must be \[4H, H\], got \[8\]"),
        ((x, *replaced(parameters, 1, torch.ones(6, 2))), ValueError, r"w_hh must be \[8, 2\], got \[6, 2\]"),
        ((x, *replaced(parameters, 3, torch.ones(7))), ValueError, r"b_hh must be \[8\], got \[7\]"),
        ((x, *replaced(parameters, 2, torch.ones(8, dtype=torch.int32))), TypeError, "b_ih must be float32, got int32"),
        (
            (x.half(), *replaced(parameters, 2, torch.ones(8).double())),
            TypeError,
            "b_ih must be float16 or float32, got float64",
        ),
        (
            (x, *replaced(parameters, 0, torch.ones(8, 4, device="meta"))),
            ValueError,
            "w_ih must be on cpu as x, got meta",
        ),
    ]
    assert_refused(partial(lstm, reverse=False), wrong)
