"""The L-infinity step in every tier."""

import pytest
import torch
from accuracy import assert_accurate
from cases import LAYOUTS, REGISTERED_DTYPES, assert_refused, require_kernel
from fastser_kernels import linf_step
from fastser_kernels.linf_step import op, reference
from torch import Tensor
from torch.library import opcheck

STEP = (0.07, 0.08)
BOUNDS = [None, (-1.0, 0.9)]


def _tensors(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor, Tensor]:
    clean = torch.randn(shape).clamp(-1, 1)
    adversarial, gradient = clean + 0.2 * torch.rand(shape) - 0.1, torch.randn(shape)
    gradient.view(-1)[::5] = 0.0
    return tuple(t.to(device, dtype) for t in (adversarial, clean, gradient))  # type: ignore[return-value]


@pytest.mark.kernel
@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("shape", [(3, 5, 6, 7), (2, 1, 33, 128)])
def test_values(shape: tuple[int, ...], bounds: tuple[float, float] | None, dtype: torch.dtype, device: str) -> None:
    adversarial, clean, gradient = _tensors(shape, dtype, device)
    eager = reference.linf_step(adversarial, clean, gradient, *STEP, bounds)
    exact = reference.linf_step(adversarial.double(), clean.double(), gradient.double(), *STEP, bounds)
    storage = adversarial.data_ptr()
    linf_step(adversarial, clean, gradient, *STEP, bounds)
    assert adversarial.data_ptr() == storage
    assert_accurate(adversarial, eager, exact, "x_adv")


@pytest.mark.kernel
@pytest.mark.parametrize("of_gradient", LAYOUTS)
@pytest.mark.parametrize("of_adversarial", ["contiguous", "channels_last", "sliced"])
def test_takes_any_layout(of_adversarial: str, of_gradient: str, device: str) -> None:
    adversarial, clean, gradient = _tensors((3, 5, 6, 7), torch.float32, device)
    adversarial, gradient = LAYOUTS[of_adversarial](adversarial), LAYOUTS[of_gradient](gradient)
    expected = reference.linf_step(adversarial, clean, gradient, *STEP, None)
    linf_step(adversarial, clean, gradient, *STEP, None)
    torch.testing.assert_close(adversarial, expected)


@pytest.mark.kernel
def test_a_backward_pass_notices_that_its_input_has_moved(device: str) -> None:
    x, weight = torch.randn(2, 3, 3, device=device)
    loss = (x @ weight.clone().requires_grad_()).sum()
    linf_step(x, x.clone(), torch.ones_like(x), *STEP, None)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.fast
@pytest.mark.kernel
def test_not_a_number_stays_visible(device: str) -> None:
    adversarial, clean, gradient = _tensors((3, 5), torch.float32, device)
    adversarial[1, 2], clean[2, 3] = torch.nan, torch.nan
    linf_step(adversarial, clean, gradient, *STEP, (-1.0, 1.0))
    assert adversarial.isnan().nonzero().tolist() == [[1, 2], [2, 3]]


@pytest.mark.kernel
@pytest.mark.parametrize("bounds", BOUNDS)
def test_a_gradient_that_is_not_a_number_stays_visible(
    bounds: tuple[float, float] | None, dtype: torch.dtype, device: str
) -> None:
    adversarial, clean, gradient = _tensors((3, 40), dtype, device)
    gradient[:, ::3] = torch.nan
    expected = reference.linf_step(adversarial, clean, gradient, *STEP, bounds)
    linf_step(adversarial, clean, gradient, *STEP, bounds)
    assert torch.equal(adversarial.isnan(), gradient.isnan())
    torch.testing.assert_close(adversarial, expected, equal_nan=True)


@pytest.mark.fast
@pytest.mark.kernel
def test_an_empty_batch_is_no_error(device: str) -> None:
    linf_step(*_tensors((0, 4), torch.float32, device), *STEP, None)


@pytest.mark.parametrize("dtype", REGISTERED_DTYPES)
def test_passes_opcheck(dtype: torch.dtype) -> None:
    tensors = _tensors((2, 3), dtype, "cpu")
    require_kernel(tensors[0])
    opcheck(op._step, (*tensors, *STEP, -1.0, 1.0))


def test_wrong_arguments_are_named() -> None:
    x, empty = torch.ones(2, 3), r"bounds must be \(low, high\) with low < high, got \(1\.0, -1\.0\)"
    wrong = [
        ((x, x, x[:, 0], *STEP, None), ValueError, r"grad must be \[2, 3\], got \[2\]"),
        ((x, x.double(), x, *STEP, None), TypeError, "x0 must be float32, got float64"),
        ((x, x, x.to("meta"), *STEP, None), ValueError, "grad must be on cpu as x_adv, got meta"),
        ((x.long(), x, x, *STEP, None), TypeError, "x_adv must be floating point, got int64"),
        ((x, x, x, 0.1, -0.1, None), ValueError, r"eps must not be negative, got -0\.1"),
        ((x, x, x, *STEP, (1.0, -1.0)), ValueError, empty),
    ]
    assert_refused(linf_step, wrong)
