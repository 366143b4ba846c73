"""The L-infinity step on every tier."""

import pytest
import torch
from accuracy import assert_accurate
from fastser_kernels import linf_step
from fastser_kernels.linf_step import reference
from torch import Tensor
from torch.library import opcheck

STEP = (0.07, 0.08)
BOUNDS = [None, (-1.0, 0.9)]
LAYOUTS = {
    "contiguous": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "sliced": lambda x: x.repeat_interleave(2, dim=3)[..., ::2],
    "expanded": lambda x: x[:1].expand(x.shape),
}


def _tensors(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor, Tensor]:
    clean = torch.randn(shape).clamp(-1, 1)
    adversarial, gradient = clean + 0.1 * torch.rand(shape), torch.randn(shape)
    gradient.view(-1)[::5] = 0.0
    return tuple(t.to(device, dtype) for t in (adversarial, clean, gradient))  # type: ignore[return-value]


@pytest.mark.kernel
@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("shape", [(3, 5, 6, 7), (2, 1, 33, 128)])
def test_follows_the_formula_in_place(
    shape: tuple[int, ...], bounds: tuple[float, float] | None, dtype: torch.dtype, device: str
) -> None:
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
def test_an_empty_batch_is_no_error(device: str) -> None:
    linf_step(*_tensors((0, 4), torch.float32, device), *STEP, None)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_is_registered_rightly(dtype: torch.dtype) -> None:
    opcheck(torch.ops.fastser_kernels.linf_step.default, (*_tensors((2, 3), dtype, "cpu"), *STEP, -1.0, 1.0))


def test_wrong_arguments_are_named() -> None:
    x = torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"grad must be \[2, 3\], got \[2\]"):
        linf_step(x, x, x[:, 0], *STEP, None)
    with pytest.raises(TypeError, match="x0 must be float32, got float64"):
        linf_step(x, x.double(), x, *STEP, None)
    with pytest.raises(ValueError, match="grad must be on cpu as x_adv, got meta"):
        linf_step(x, x, x.to("meta"), *STEP, None)
    with pytest.raises(TypeError, match=r"x_adv must be floating point, got int64"):
        linf_step(x.long(), x, x, *STEP, None)
    with pytest.raises(ValueError, match=r"eps must not be negative, got -0\.1"):
        linf_step(x, x, x, 0.1, -0.1, None)
    with pytest.raises(ValueError, match=r"bounds must be \(low, high\) with low < high, got \(1\.0, -1\.0\)"):
        linf_step(x, x, x, *STEP, (1.0, -1.0))
