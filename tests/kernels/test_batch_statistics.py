"""Mean and variance of each channel on a CPU, and the sums behind their gradients."""

import pytest
import torch
from fastser_kernels import batch_statistics
from fastser_kernels.batch_statistics import band_moments, gradient_sums, merged, moments
from torch import Tensor

SHAPES = [(2, 3, 5, 7), (1, 4, 4, 3), (3, 4, 8, 24), (1, 1, 1, 2), (1, 1, 1, 16), (2, 2, 2, 1)]
AXES = (0, 1, 2)


def _maps(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, *, dense: bool = True) -> Tensor:
    """Return maps `[N, T, F, C]` with different means and spreads per channel, dense or a slice of wider maps."""
    *pixels, channels = shape
    width = channels if dense else channels + 5
    spread, offset = torch.linspace(1, 3, width, dtype=dtype), torch.arange(width)
    return (torch.randn(*pixels, width, dtype=dtype) * spread + offset)[..., :channels]


@pytest.mark.parametrize("band", [1, 100, 2**18], ids="band {}".format)
@pytest.mark.parametrize("dense", [True, False], ids=["dense", "some channels"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_moments(shape: tuple[int, ...], dense: bool, band: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(batch_statistics, "BAND", band)
    maps = _maps(shape, dense=dense)
    var, mean = torch.var_mean(maps, AXES, correction=0)
    torch.testing.assert_close(moments(maps), (mean, var))


def test_parts_of_different_size_count_by_their_pixels() -> None:
    maps = _maps((3, 4, 5, 6))
    var, mean = torch.var_mean(maps, AXES, correction=0)
    parts = [band_moments(maps[0]), band_moments(maps[1, :1]), band_moments(maps[1, 1:]), band_moments(maps[2])]
    torch.testing.assert_close(merged(parts), (mean, var))


@pytest.mark.parametrize("offset", [0.0, 100.0], ids="mean {}".format)
def test_moments_in_float32_are_as_exact_as_batch_norms(offset: float) -> None:
    """The mean is 0 or 100 standard deviations."""
    maps = torch.randn(4, 64, 64, 24) + offset
    exact_var, exact_mean = torch.var_mean(maps.double(), AXES, correction=0)
    mean, var = moments(maps)
    eager_mean, eager_var = torch.batch_norm_update_stats(maps.permute(0, 3, 1, 2), None, None, 0.0)
    for ours, eager, exact in ((mean, eager_mean, exact_mean), (var, eager_var, exact_var)):
        rounding = 4 * torch.finfo(torch.float32).eps * exact.abs().max()
        assert (ours - exact).abs().max() <= (eager - exact).abs().max() + rounding


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "some channels"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradient_sums(shape: tuple[int, ...], dense: bool) -> None:
    maps, dz = _maps(shape, dense=dense), torch.randn(shape, dtype=torch.float64)
    mean, rstd = torch.randn(shape[3], dtype=torch.float64), torch.rand(shape[3], dtype=torch.float64) + 0.5
    by_xhat, plain = gradient_sums(dz, maps, mean, rstd)
    torch.testing.assert_close(by_xhat, (dz * (maps - mean) * rstd).sum(AXES))
    torch.testing.assert_close(plain, dz.sum(AXES))


def test_gradient_sums_of_no_pixels_are_zero() -> None:
    for result in gradient_sums(torch.empty(0, 2, 2, 3), torch.empty(0, 2, 2, 3), torch.zeros(3), torch.ones(3)):
        torch.testing.assert_close(result, torch.zeros(3))
