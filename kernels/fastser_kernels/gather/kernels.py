"""Triton kernel that cuts segments from a bank: one launch per batch, one tile of one segment per program."""

import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.launch import launch

TILE, MAX_BINS, NUM_WARPS = 2048, 128, 4
"""Values of a tile, largest number of its bins, and warps: four 16-byte accesses per thread and window in fp32."""


@triton.jit
def _window(frames_ptr, start, length, mean, t, f, num_frames, segment_frames, bins, frame_stride, bin_stride):
    """Return a tile `[BLOCK_T, BLOCK_F]` of a window minus the mean, 0 in the padding."""
    # A start outside the bank is clamped before the frame index is added, so the sum cannot overflow.
    start = tl.minimum(tl.maximum(start, -segment_frames), num_frames)
    row = tl.minimum(tl.maximum(start + t, 0), num_frames - 1)
    real = (t < length)[:, None] & (f < bins)
    x = tl.load(frames_ptr + row[:, None] * frame_stride + f * bin_stride, mask=real, other=0.0)
    return tl.where(real, x.to(tl.float32) - mean, 0.0)


@triton.jit(do_not_specialize=["num_frames"])
def gather_kernel(
    frames_ptr,
    start_a_ptr,
    length_a_ptr,
    start_b_ptr,
    length_b_ptr,
    lam_ptr,
    mean,
    std,
    moments_ptr,
    out_ptr,
    num_frames,
    segment_frames,
    bins,
    frame_stride,
    bin_stride,
    BLOCK_T: tl.constexpr,
    BLOCK_F: tl.constexpr,
):
    sample = tl.program_id(0).to(tl.int64)
    t = tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)
    f = tl.program_id(2).to(tl.int64) * BLOCK_F + tl.arange(0, BLOCK_F)
    if moments_ptr is not None:
        mean = tl.load(moments_ptr).to(tl.float32)
        std = tl.load(moments_ptr + 1).to(tl.float32)
    start, length = tl.load(start_a_ptr + sample), tl.load(length_a_ptr + sample)
    shape = num_frames, segment_frames, bins, frame_stride, bin_stride
    mix = _window(frames_ptr, start, length, mean, t, f, *shape)
    if start_b_ptr is not None:
        start, length = tl.load(start_b_ptr + sample), tl.load(length_b_ptr + sample)
        lam = tl.load(lam_ptr + sample).to(tl.float32)
        mix = lam * mix + (1.0 - lam) * _window(frames_ptr, start, length, mean, t, f, *shape)
    out = (sample * segment_frames + t)[:, None] * bins + f
    inside = (t < segment_frames)[:, None] & (f < bins)
    tl.store(out_ptr + out, (mix / std).to(out_ptr.dtype.element_ty), mask=inside)


def segments(
    frames: Tensor,
    start: Tensor,
    length: Tensor,
    mean: float,
    std: float,
    moments: Tensor | None,
    segment_frames: int,
) -> Tensor:
    """Launch with one window per segment."""
    return _gather(
        frames,
        start_a=start,
        length_a=length,
        start_b=None,
        length_b=None,
        lam=None,
        mean=mean,
        std=std,
        moments=moments,
        segment_frames=segment_frames,
    )


def mixup(
    frames: Tensor,
    start_a: Tensor,
    length_a: Tensor,
    start_b: Tensor,
    length_b: Tensor,
    lam: Tensor,
    mean: float,
    std: float,
    moments: Tensor | None,
    segment_frames: int,
) -> Tensor:
    """Launch with two windows per segment."""
    return _gather(
        frames,
        start_a=start_a,
        length_a=length_a,
        start_b=start_b,
        length_b=length_b,
        lam=lam,
        mean=mean,
        std=std,
        moments=moments,
        segment_frames=segment_frames,
    )


def _gather(
    frames: Tensor,
    *,
    start_a: Tensor,
    length_a: Tensor,
    start_b: Tensor | None,
    length_b: Tensor | None,
    lam: Tensor | None,
    mean: float,
    std: float,
    moments: Tensor | None,
    segment_frames: int,
) -> Tensor:
    num_frames, bins = frames.shape
    frame_stride, bin_stride = frames.stride()
    out = frames.new_empty(len(start_a), segment_frames, bins)
    block_f = min(triton.next_power_of_2(max(bins, 1)), MAX_BINS)
    block_t = TILE // block_f
    launch(
        gather_kernel,
        (len(start_a), triton.cdiv(segment_frames, block_t), triton.cdiv(bins, block_f)),
        frames_ptr=frames,  # [F_total, bins]
        start_a_ptr=start_a.contiguous(),  # [B]
        length_a_ptr=length_a.contiguous(),  # [B]
        start_b_ptr=None if start_b is None else start_b.contiguous(),  # [B]
        length_b_ptr=None if length_b is None else length_b.contiguous(),  # [B]
        lam_ptr=None if lam is None else lam.contiguous(),  # [B]
        mean=mean,
        std=std,
        moments_ptr=moments,  # [2], replaces mean and std
        out_ptr=out,  # [B, segment_frames, bins]
        num_frames=num_frames,
        segment_frames=segment_frames,
        bins=bins,
        frame_stride=frame_stride,
        bin_stride=bin_stride,
        BLOCK_T=block_t,
        BLOCK_F=block_f,
        num_warps=NUM_WARPS,
    )
    return out
