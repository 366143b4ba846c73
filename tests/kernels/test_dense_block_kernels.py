"""Properties of the DenseBlock's Triton kernels alone: tiles, groups, neighbouring slices, moments."""

from dataclasses import replace

import pytest
import torch
from accuracy import relative_error
from cases import LAYOUTS
from fastser_kernels.chips import WITHOUT_GPU
from fastser_kernels.dense_block import reference
from fastser_kernels.launch import launch
from fastser_kernels.registration import launched_on_cpu
from torch import Tensor
from torch.nn.functional import max_pool2d

pytest.importorskip("triton", reason="Triton is not installed")
import triton
import triton.language as tl
from fastser_kernels import moments_kernels
from fastser_kernels.dense_block import backward_kernels, forward_kernels, operand_kernels, tiles

EPS = 1e-5
pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def only_where_kernels_run(device: str) -> None:
    """Skip where launchers cannot run: CPU tensors need the interpreter or the PTX machine."""
    if device == "cpu" and not launched_on_cpu():
        pytest.skip("kernels run on a GPU, in Triton's interpreter or in the PTX machine")


def _lists(channels: int, growth_rate: int, layers: int, device: str) -> list[list[Tensor]]:
    """Return bn_weight, bn_bias, running_mean, running_var and conv_weight; the scales have both signs."""
    lists: list[list[Tensor]] = [[] for _ in range(5)]
    for i in range(layers):
        C = channels + i * growth_rate
        vectors = torch.rand(C) + 0.5, torch.randn(C), torch.randn(C), torch.rand(C) + 0.5
        kernel = torch.randn(growth_rate, C, 3, 3) / (9 * C) ** 0.5
        for values, value in zip(lists, (*vectors, kernel), strict=True):
            values.append(value.to(device))
    lists[0][-1].neg_()
    return lists


def _norm_and_kernel(lists: list[list[Tensor]]) -> tuple[forward_kernels.Norm, Tensor]:
    """Return the only layer's batch normalisation, with running statistics, and kernel."""
    weight, bias, mean, var, kernel = (values[0] for values in lists)
    return forward_kernels.Norm(weight, bias, mean, var), kernel


TOLERANCES = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
"""Largest relative error of a gradient: that of the rounded activation."""


@pytest.mark.parametrize(
    ("shape", "growth_rate", "layers"),
    [
        ((1, 3, 1, 130), 2, 2),
        ((5, 3, 8, 8), 2, 1),
        ((1, 8, 3, 4), 40, 1),
        ((2, 3, 3, 4), 25, 1),
        ((2, 70, 3, 7), 8, 2),
        ((1, 1, 1, 1), 1, 1),
        ((130, 2, 1, 1), 2, 1),
        ((2, 2, 67, 1), 2, 1),
        ((3, 2, 1, 19), 2, 1),
    ],
    ids=[
        "wider than a tile",
        "whole rows",
        "groups of maps",
        "odd groups",
        "blocks of channels",
        "one of each",
        "one pixel",
        "one column",
        "one row",
    ],
)
def test_tiles_and_groups(
    shape: tuple[int, int, int, int],
    growth_rate: int,
    layers: int,
    dtype: torch.dtype,
    device: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eval mode lets no statistics hide an error. Each program walks over several tiles.

    In 16-bit types there is one layer, because the rounding of its maps changes the signs that a second ReLU gets.
    """
    monkeypatch.setattr(backward_kernels, "chip_of", lambda _: replace(WITHOUT_GPU, multiprocessors=2))
    x = torch.randn(shape).to(device, dtype)
    lists = _lists(shape[1], growth_rate, layers if dtype == torch.float32 else 1, device)
    lists[4] = [kernel.to(dtype).float() for kernel in lists[4]]
    maps, mean, var = forward_kernels.forward(x, *lists, False, EPS)
    assert mean.shape == var.shape == (0,)
    cotangent = torch.randn(maps.shape).to(device, dtype)
    saved = cotangent, maps, mean, var, *lists, False, EPS
    actual = backward_kernels.backward(*saved, False)
    exact_x, exact = x.double().requires_grad_(), [[value.double() for value in values] for values in lists]
    learned = [value.requires_grad_() for i in (0, 1, 4) for value in exact[i]]
    expected = reference.dense_block(exact_x, *exact, training=False, momentum=0.1, eps=EPS)
    assert relative_error(maps, expected) < (1e-6 if dtype == torch.float32 else TOLERANCES[dtype])
    gradients = torch.autograd.grad(expected, [exact_x, *learned], cotangent.double())
    if dtype != torch.float32:  # another kernel
        assert relative_error(backward_kernels.backward(*saved, True)[0], gradients[0]) < TOLERANCES[dtype]
    for ours, right in zip([actual[0], *actual[1], *actual[2], *actual[3]], gradients, strict=True):
        assert relative_error(ours, right) < TOLERANCES[dtype]


@pytest.mark.parametrize("input_only", [True, False])
def test_a_gradient_that_is_not_a_number_reaches_the_nine_neighbours(
    input_only: bool, dtype: torch.dtype, device: str
) -> None:
    """A small scale and a positive bias let all gradients pass."""
    lists = _lists(3, 2, 1, device)
    lists[0][0].fill_(1e-3)
    lists[1][0].abs_().add_(1)
    maps, *statistics = forward_kernels.forward(torch.randn(1, 3, 6, 7).to(device, dtype), *lists, False, EPS)
    cotangent = torch.randn(maps.shape).to(device, dtype)
    cotangent[0, 4, 2, 3] = torch.nan
    grad_x = backward_kernels.backward(cotangent, maps, *statistics, *lists, False, EPS, input_only)[0]
    reached = grad_x[0].isnan()
    assert reached[:, 1:4, 2:5].all()
    assert reached.sum() == 3 * 9


@pytest.mark.parametrize("shape", [(5, 4, 16), (3, 1, 1), (2, 7, 1), (1, 3, 130), (4, 5, 40), (0, 3, 4)], ids=str)
@pytest.mark.parametrize("pixels", [16, 128])
def test_tiles_hold_every_pixel_once(shape: tuple[int, int, int], pixels: int) -> None:
    N, T, F = shape
    box = tiles.tiling(N, T, F, pixels)
    seen = torch.zeros(N + box.samples, T + box.rows, F + box.columns)
    for tile in range(box.tiles):
        tile_row, f = divmod(tile, box.tiles_f)
        n, t = (tile_row // box.tiles_t) * box.samples, (tile_row % box.tiles_t) * box.rows
        f *= box.columns
        seen[n : n + box.samples, t : t + box.rows, f : f + box.columns] += 1
    assert box.samples * box.rows * box.columns <= pixels
    assert (seen[:N, :T, :F] == 1).all()


@triton.jit(do_not_specialize=("multiplier", "shift"))
def _quotient_kernel(numbers_ptr, quotients_ptr, multiplier, shift, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    i = tl.arange(0, BLOCK)
    tl.store(quotients_ptr + i, tiles.quotient(tl.load(numbers_ptr + i), multiplier, shift))


@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 64, 129, 46341, 2**30 + 1, 2**31 - 1])
def test_quotient_is_exact(divisor: int, device: str) -> None:
    near = torch.cat([torch.arange(1, 11) * divisor, torch.tensor([1, 2**31 // divisor * divisor, 2**31])])
    numbers = torch.cat([near - 1, near, near + 1, torch.randint(2**31, (25,))]).clamp(0, 2**31 - 1).to(device)
    quotients = torch.empty(64, dtype=torch.int64, device=device)
    multiplier, shift = tiles.inverse(divisor)
    launch(
        _quotient_kernel,
        (1,),
        numbers_ptr=numbers,
        quotients_ptr=quotients,
        multiplier=multiplier,
        shift=shift,
        BLOCK=64,
    )
    assert torch.equal(quotients, numbers // divisor)


def test_rows_outside_a_map_are_zero_for_scales_of_any_sign(device: str) -> None:
    x, lists = torch.randn(2, 3, 2, 4, device=device), _lists(3, 2, 1, device)
    lists[0], lists[1] = [torch.tensor([2.0, -2.0, 0.0], device=device)], [torch.full((3,), 3.0, device=device)]
    maps, _, _ = forward_kernels.forward(x, *lists, False, EPS)
    exact = [[value.double() for value in values] for values in lists]
    expected = reference.dense_block(x.double(), *exact, training=False, momentum=0.1, eps=EPS)
    assert relative_error(maps, expected) < 1e-6


def test_nan_reaches_the_neighbouring_pixels_and_no_others(dtype: torch.dtype, device: str) -> None:
    """The neighbours in memory that belong to another row or map stay finite."""
    x = torch.randn(2, 3, 4, 5).to(device, dtype)
    x[0, 1, 3, 4] = x[1, 2, 0, 2] = x[1, 0, 2, 0] = torch.nan
    maps, _, _ = forward_kernels.forward(x, *_lists(3, 2, 1, device), False, EPS)
    reached = max_pool2d(x.isnan().any(1, keepdim=True).float(), 3, stride=1, padding=1) > 0
    assert torch.equal(maps[:, 3:].isnan(), reached.expand(-1, 2, -1, -1))


def test_prepared_weights_keep_every_bit(dtype: torch.dtype, device: str) -> None:
    """In fp32 the first part is exact in tf32, and both parts together are exact."""
    norm, kernel = _norm_and_kernel(_lists(5, 3, 1, device))
    parts = operand_kernels.prepare(kernel, norm, EPS, dtype).weight
    weight = parts.sum(2).flatten(1)
    assert torch.equal(weight[:, :15].view(3, 3, 3, 5).permute(1, 3, 2, 0), kernel.to(dtype))
    assert (weight[:, 15:] == 0).all()
    if parts.shape[2] == 2:
        assert (parts[:, :, 0].view(torch.int32) & 0x1FFF == 0).all()


def test_a_layer_leaves_its_neighbours_untouched(dtype: torch.dtype, device: str) -> None:
    """Slices are not multiples of the width of a store."""
    C, growth_rate, lists = 5, 3, _lists(5, 3, 1, device)
    maps = torch.full((2, 6, 7, 12), torch.nan, dtype=dtype, device=device).permute(0, 3, 1, 2)
    maps[:, :C] = torch.randn(2, C, 6, 7)
    norm, kernel = _norm_and_kernel(lists)
    partial = forward_kernels._layer(maps, C, kernel, norm, EPS, moments=True)
    assert maps[:, : C + growth_rate].isfinite().all()
    assert partial.isfinite().all()
    assert maps[:, C + growth_rate :].isnan().all()


def test_statistics_of_maps_wider_than_a_tile(dtype: torch.dtype, device: str) -> None:
    """Columns in the halo of two tiles are not counted twice."""
    C, growth_rate, lists = 3, 2, _lists(3, 2, 1, device)
    maps = torch.empty(1, 2, 270, C + growth_rate, dtype=dtype, device=device).permute(0, 3, 1, 2)
    maps[:, :C] = torch.randn(1, C, 2, 270)
    norm, kernel = _norm_and_kernel(lists)
    partial = forward_kernels._layer(maps, C, kernel, norm, EPS, moments=True)
    mean, var = torch.empty(2, growth_rate, device=device)
    moments_kernels.finish_moments(partial, mean, var)
    exact_var, exact_mean = torch.var_mean(maps[:, C:].double(), (0, 2, 3), correction=0)
    assert (partial[0].sum(1) == 2 * 270).all()
    assert (mean - exact_mean).abs().max() < 1e-6
    assert relative_error(var, exact_var) < 1e-6


@pytest.mark.parametrize("growth_rate", [3, 25])
def test_nothing_behind_a_kernel_is_read(growth_rate: int, device: str) -> None:
    """The kernel lies between NaNs, and its number of maps is not a multiple of a group."""
    lists = _lists(3, growth_rate, 1, device)
    guarded = torch.full((9 * 3 * (growth_rate + 64),), torch.nan, device=device)
    kernel = guarded[: 9 * 3 * growth_rate].view(growth_rate, 3, 3, 3).permute(0, 3, 1, 2)
    lists[4] = [kernel.copy_(lists[4][0])]
    maps, *statistics = forward_kernels.forward(torch.randn(2, 3, 3, 4, device=device), *lists, False, EPS)
    gradients = backward_kernels.backward(torch.randn_like(maps), maps, *statistics, *lists, False, EPS, False)
    assert maps.isfinite().all()
    assert gradients[0].isfinite().all()
    assert gradients[3][0].isfinite().all()


OF_MAPS = LAYOUTS | {
    "a slice of maps": lambda x: x.repeat(1, 3, 1, 1).contiguous(memory_format=torch.channels_last).chunk(3, 1)[1]
}


@pytest.mark.parametrize(
    ("layout", "dtype"), [*((layout, torch.float32) for layout in OF_MAPS), ("channels_last", torch.float16)]
)
def test_moments_and_copy_of_any_layout(
    layout: str, dtype: torch.dtype, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs take two steps, and the last one is not full."""
    monkeypatch.setattr(moments_kernels, "MAX_PROGRAMS", 2)
    x = OF_MAPS[layout](torch.randn(2, 40, 7, 13, device=device).to(dtype))
    out = torch.full((2, 7, 13, 56), torch.nan, dtype=dtype, device=device).permute(0, 3, 1, 2)
    partial = moments_kernels.copy_maps(x, out[:, 8:48], moments=True)
    assert torch.equal(out[:, 8:48], x)
    assert out[:, :8].isnan().all()
    assert out[:, 48:].isnan().all()
    copied = torch.empty(2, 40, device=device)
    moments_kernels.finish_moments(partial, *copied)
    exact_var, exact_mean = torch.var_mean(x.double(), (0, 2, 3), correction=0)
    for mean, var in (copied, moments_kernels.channel_moments(x)):  # two binaries, which may add in different orders
        assert (mean - exact_mean).abs().max() < 1e-6
        assert relative_error(var, exact_var) < 1e-6


def test_moments_are_safe_far_from_zero(device: str) -> None:
    """At a mean of 100 standard deviations, the variance from fp32 sums of squares would have an error of 5e-4."""
    x = 0.01 * torch.randn(2, 8, 32, 16, device=device) + 1.0
    mean, var = moments_kernels.channel_moments(x)
    exact_var, exact_mean = torch.var_mean(x.double(), (0, 2, 3), correction=0)
    assert ((mean - exact_mean).abs() / exact_var.sqrt()).max() < 1e-5
    assert relative_error(var, exact_var) < 2e-6
