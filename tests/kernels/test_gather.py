"""Segments from a bank, and mixtures of two segments, in every tier."""

from typing import Any

import pytest
import torch
from accuracy import assert_accurate
from cases import REGISTERED_DTYPES, assert_refused, compiled, normal, on_gpu, require_kernel
from fastser_kernels import gather_mixup, gather_segments
from fastser_kernels.gather import op, reference
from torch import Tensor
from torch.library import opcheck

MEAN, STD = -1.5, 2.0
EXTREME = [-(2**63), -9, -2, 18, 20, 4000, 2**63 - 1]
SHAPES = [(5, 3), (21, 40), (3, 130)]
"""Frames of a segment and bins: less than a tile, several tiles in time, several tiles in frequency."""


def _windows(segment_frames: int, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return starts and lengths in a bank of 64 frames, and lam.

    The segments are full, padded in either batch, empty, at the end of the bank, or longer than asked for.
    """
    start_a, length_a = [0, 10, 61, 64, 64 - segment_frames, 7], [segment_frames, 2, 3, 0, segment_frames, 50]
    start_b, length_b = [40, 9, 0, 5, 0, 30], [segment_frames, segment_frames, 1, 2, 0, 2]
    indices = (torch.tensor(values, device=device) for values in (start_a, length_a, start_b, length_b))
    return *indices, torch.tensor([0.3, 0.9, 0.5, 0.1, 0.0, 1.0], device=device)  # type: ignore[return-value]


@pytest.mark.kernel
@normal
@pytest.mark.parametrize(("segment_frames", "bins"), SHAPES)
def test_values(segment_frames: int, bins: int, normal: dict[str, float], dtype: torch.dtype, device: str) -> None:
    frames = torch.empty(64, bins).normal_(**normal).to(device, dtype)
    *indices, lam = _windows(segment_frames, device)
    one = (*indices[:2], MEAN, STD, segment_frames)
    a = gather_segments(frames, *one)
    exact = reference.gather_segments(frames.double(), *one)
    assert_accurate(a, reference.gather_segments(frames, *one), exact, "segments")
    two = (*indices, lam, MEAN, STD, segment_frames)
    mixed = gather_mixup(frames, *two)
    exact = reference.gather_mixup(frames.double(), *indices, lam.double(), MEAN, STD, segment_frames)
    assert_accurate(mixed, reference.gather_mixup(frames, *two), exact, "mixture")
    frame = torch.arange(segment_frames, device=device)
    assert (a[frame >= indices[1][:, None]] == 0).all()
    assert (mixed[frame >= torch.maximum(indices[1], indices[3])[:, None]] == 0).all()


@pytest.mark.kernel
def test_mixture_is_exactly_a_part_where_its_weight_is_one(dtype: torch.dtype, device: str) -> None:
    frames = torch.randn(64, 40).to(device, dtype)
    start_a, length_a, start_b, length_b, lam = _windows(21, device)
    a = gather_segments(frames, start_a, length_a, MEAN, STD, 21)
    b = gather_segments(frames, start_b, length_b, MEAN, STD, 21)
    mixed = gather_mixup(frames, start_a, length_a, start_b, length_b, lam, MEAN, STD, 21)
    assert torch.equal(mixed[4], b[4])
    assert torch.equal(mixed[5], a[5])
    if dtype == torch.float32:  # a real frame mixed with padding is the weighted frame
        torch.testing.assert_close(mixed[2, 1:3], 0.5 * a[2, 1:3], rtol=1e-6, atol=1e-6)


@pytest.mark.fast
@pytest.mark.kernel
@pytest.mark.parametrize("bins", [slice(3, 43), slice(0, 80, 2)], ids=["rows apart", "bins apart"])
def test_takes_any_layout(bins: slice, device: str) -> None:
    frames = torch.randn(70, 80).to(device)[3:67, bins]
    *indices, lam = (t.repeat_interleave(2)[::2] for t in _windows(21, device))
    actual = gather_mixup(frames, *indices, lam, MEAN, STD, 21)
    torch.testing.assert_close(actual, reference.gather_mixup(frames, *indices, lam, MEAN, STD, 21))


@pytest.mark.kernel
@pytest.mark.parametrize("tensors", ["mean", "std", "both"])
def test_statistics_may_be_tensors(tensors: str, device: str) -> None:
    frames = torch.randn(64, 40).to(device)
    *indices, lam = _windows(21, device)
    mean = MEAN if tensors == "std" else torch.tensor(MEAN, device=device)
    std = STD if tensors == "mean" else torch.tensor(STD, dtype=torch.float64, device=device)
    actual = gather_mixup(frames, *indices, lam, mean, std, 21), gather_segments(frames, *indices[:2], mean, std, 21)
    expected = gather_mixup(frames, *indices, lam, MEAN, STD, 21), gather_segments(frames, *indices[:2], MEAN, STD, 21)
    torch.testing.assert_close(actual, expected)


@pytest.mark.kernel
def test_places_outside_are_clamped(device: str) -> None:
    guarded = torch.full((60, 8), torch.nan, device=device)
    guarded[20:40] = torch.randn(20, 8)
    frames, start = guarded[20:40], torch.tensor(EXTREME, device=device)
    require_kernel(frames)
    length, lam = torch.full_like(start, 4), torch.full((len(EXTREME),), 0.5, device=device)
    segments = op._segments(frames, start, length, MEAN, STD, None, 5)
    mixed = op._mixup(frames, start, length, start.flip(0), length, lam, MEAN, STD, None, 5)
    assert torch.isfinite(segments).all()
    assert torch.isfinite(mixed).all()
    near = slice(1, -1)
    torch.testing.assert_close(
        segments[near], reference.gather_segments(frames, start[near], length[near], MEAN, STD, 5)
    )


@pytest.mark.kernel
def test_an_empty_batch_is_no_error(device: str) -> None:
    frames, index = torch.randn(6, 3).to(device), torch.zeros(0, dtype=torch.int64, device=device)
    assert gather_segments(frames, index, index, MEAN, STD, 4).shape == (0, 4, 3)
    assert gather_mixup(frames, index, index, index, index, index.float(), MEAN, STD, 4).shape == (0, 4, 3)


@pytest.mark.kernel
def test_results_need_no_gradient(device: str) -> None:
    frames = torch.randn(64, 40).to(device).requires_grad_()
    *indices, lam = _windows(21, device)
    assert not gather_segments(frames, *indices[:2], MEAN, STD, 21).requires_grad
    assert not gather_mixup(frames, *indices, lam.requires_grad_(), MEAN, STD, 21).requires_grad


@on_gpu
def test_at_full_size_nothing_waits_and_bits_repeat() -> None:
    device = "cuda"
    frames = torch.randn(400 * 256, 128, device=device, dtype=torch.bfloat16)
    start = torch.randint(399 * 256, (4, 4096), device=device)
    length, lam = torch.randint(257, (4096,), device=device), torch.rand(4096, device=device)
    statistics = torch.tensor(MEAN, device=device), torch.tensor(STD, device=device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        first, second = (
            gather_mixup(frames, start[0], length, start[1], length.flip(0), lam, *statistics, 256) for _ in range(2)
        )
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(first, second)
    exact = reference.gather_mixup(frames.float(), start[0], length, start[1], length.flip(0), lam, *statistics, 256)
    torch.testing.assert_close(first.float(), exact, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize("dtype", REGISTERED_DTYPES)
def test_passes_opcheck(dtype: torch.dtype) -> None:
    frames = torch.randn(64, 3, dtype=dtype)
    require_kernel(frames)
    *indices, lam = _windows(5, "cpu")
    moments = torch.tensor([MEAN, STD], dtype=torch.promote_types(dtype, torch.float32))
    for rest in ((MEAN, STD, None, 5), (0.0, 1.0, moments, 5)):
        opcheck(op._segments, (frames, *indices[:2], *rest))
        opcheck(op._mixup, (frames, *indices, lam, *rest))


def test_float64_is_computed_in_float64() -> None:
    frames = torch.randn(64, 3, dtype=torch.float64)
    *indices, lam = _windows(5, "cpu")
    arguments: Any = (frames, *indices, lam.double(), torch.tensor(MEAN, dtype=torch.float64), STD, 5)
    torch.testing.assert_close(gather_mixup(*arguments), reference.gather_mixup(*arguments), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("statistics", [(MEAN, STD), (torch.tensor(MEAN), STD)], ids=["numbers", "a tensor"])
def test_compiled_equals_eager(statistics: tuple[float | Tensor, float]) -> None:
    frames = torch.randn(64, 3)
    *indices, lam = _windows(5, "cpu")
    for function, arguments in (
        (gather_segments, (frames, *indices[:2], *statistics, 5)),
        (gather_mixup, (frames, *indices, lam, *statistics, 5)),
    ):
        assert torch.equal(compiled(function)(*arguments), function(*arguments))


def test_a_batch_is_one_launch() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    from fastser_kernels.gather import kernels
    from fastser_kernels.launch import recorded

    *indices, lam = _windows(21, "cpu")
    with recorded() as launched:
        kernels.mixup(torch.randn(64, 40), *indices, lam, MEAN, STD, None, 21)
    assert len(launched) == 1


@pytest.mark.fast
@pytest.mark.parametrize(("start", "length"), [(-1, 3), (18, 3), (0, -1), (2**63 - 1, 3)])
def test_a_place_outside_is_named(start: int, length: int) -> None:
    frames, zeros = torch.randn(20, 3), torch.zeros(2, dtype=torch.int64)
    starts, lengths = torch.tensor([0, start]), torch.tensor([1, length])
    sentence = rf"\[1\] = {start} with {length} frames leaves the bank of 20 frames"
    with pytest.raises(IndexError, match="start" + sentence):
        gather_segments(frames, starts, lengths, MEAN, STD, 5)
    with pytest.raises(IndexError, match="start_a" + sentence):
        gather_mixup(frames, starts, lengths, zeros, zeros, torch.rand(2), MEAN, STD, 5)
    with pytest.raises(IndexError, match="start_b" + sentence):
        gather_mixup(frames, zeros, zeros, starts, lengths, torch.rand(2), MEAN, STD, 5)


@pytest.mark.fast
def test_a_segment_may_have_more_frames_than_are_asked_for_or_left_in_the_bank() -> None:
    frames, start = torch.randn(20, 3), torch.tensor([15, 2])
    expected = gather_segments(frames, start, torch.tensor([5, 5]), MEAN, STD, 5)
    length = torch.tensor([50, 2**63 - 1])
    assert torch.equal(gather_segments(frames, start, length, MEAN, STD, 5), expected)
    mixed = gather_mixup(frames, start, length, start, length, torch.rand(2), MEAN, STD, 5)
    torch.testing.assert_close(mixed, expected)


def test_wrong_arguments_are_named() -> None:
    frames, index, lam = torch.randn(20, 3), torch.zeros(2, dtype=torch.int64), torch.rand(2)
    rest = MEAN, STD, 5
    at_least_one = "segment_frames must be at least 1, got"
    wrong_segments = [
        ((frames[0], index, index, *rest), ValueError, r"frames must be \[F_total, bins\], got \[3\]"),
        ((frames[:0], index, index, *rest), ValueError, r"frames must hold at least one frame, got \[0, 3\]"),
        ((frames, index, index, MEAN, STD, 0), ValueError, f"{at_least_one} 0"),
        ((frames, index, index, MEAN, STD, -3), ValueError, f"{at_least_one} -3"),
        ((frames.long(), index, index, *rest), TypeError, "frames must be floating point, got int64"),
        ((frames, index, index[:1], *rest), ValueError, r"start and length must both be \[B\], got \[2\] and \[1\]"),
        ((frames, index, index.int(), *rest), TypeError, "length must be int64, got int32"),
        (
            (frames, index, index, MEAN, torch.ones(1), 5),
            ValueError,
            r"std must be a number or a 0-d tensor, got \[1\]",
        ),
    ]
    assert_refused(gather_segments, wrong_segments)
    a, partners = (index, index), r"start_b and length_b must both be \[B\], got \[2\] and \[1\]"
    wrong_mixup = [
        ((frames, *a, *a, lam, MEAN, STD, 0), ValueError, f"{at_least_one} 0"),
        ((frames, *a, index, index[:1], lam, *rest), ValueError, partners),
        ((frames, *a, *a, torch.rand(3), *rest), ValueError, r"lam must be \[2\] as start_a, got \[3\]"),
        ((frames, *a, *a, index, *rest), TypeError, "lam must be floating point"),
        ((frames, index.to("meta"), index, *a, lam, *rest), ValueError, "start_a must be on cpu as frames, got meta"),
    ]
    assert_refused(gather_mixup, wrong_mixup)
