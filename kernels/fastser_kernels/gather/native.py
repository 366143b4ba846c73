"""Segments from a bank, and mixtures of two, in one pass of the compiled library."""

from torch import Tensor

from fastser_kernels.native.calls import FLOAT, INPUT, INT, OUTPUT, NativeFunction, threads_for
from fastser_kernels.registration import accumulation_dtype

_gather = NativeFunction(
    "gather",
    frames=INPUT,
    start_a=INPUT,
    length_a=INPUT,
    start_b=INPUT,
    length_b=INPUT,
    lam=INPUT,
    moments=INPUT,
    out=OUTPUT,
    num_frames=INT,
    bins=INT,
    stride=INT,
    segments=INT,
    segment_frames=INT,
    mean=FLOAT,
    std=FLOAT,
)


def segments(
    frames: Tensor,
    start: Tensor,
    length: Tensor,
    mean: float,
    std: float,
    moments: Tensor | None,
    segment_frames: int,
) -> Tensor:
    """Return one window per segment."""
    return _batch(frames, start, length, None, None, None, mean, std, moments, segment_frames)


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
    """Return the mixture of two windows per segment."""
    lam = lam.to(accumulation_dtype(frames)).contiguous()
    return _batch(
        frames,
        start_a,
        length_a,
        start_b.contiguous(),
        length_b.contiguous(),
        lam,
        mean,
        std,
        moments,
        segment_frames,
    )


def _batch(
    frames: Tensor,
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
    """Return a batch of segments. The rows of the bank may lie apart, but bins that lie apart are copied first."""
    num_frames, bins = frames.shape
    if frames.stride(1) != 1:
        frames = frames.contiguous()
    out = frames.new_empty(len(start_a), segment_frames, bins)
    _gather(
        frames.dtype,
        frames=frames,
        start_a=start_a.contiguous(),
        length_a=length_a.contiguous(),
        start_b=start_b,
        length_b=length_b,
        lam=lam,
        moments=moments,
        out=out,
        num_frames=num_frames,
        bins=bins,
        stride=frames.stride(0),
        segments=len(start_a),
        segment_frames=segment_frames,
        mean=mean,
        std=std,
        threads=threads_for(out.numel()),
    )
    return out
