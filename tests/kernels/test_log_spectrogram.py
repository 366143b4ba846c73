"""The log-spectrogram in every tier."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from accuracy import assert_accurate
from cases import compiled, on_gpu, require_kernel
from fastser_kernels import log_spectrogram, reference_kernels
from fastser_kernels.log_spectrogram import native, op, reference
from torch import Tensor
from torch.library import opcheck

RATE, WINDOW, HOP, N_FFT = 16_000, 400, 160, 512


@dataclass
class Case:
    """Arguments of one call, in the order of the operation."""

    waveforms: Tensor
    start: Tensor
    num_frames: Tensor
    window: Tensor
    filterbank: Tensor | None
    noise: Tensor | None
    noise_start: Tensor | None
    noise_gain: Tensor | None
    hop_length: int
    n_fft: int
    num_bins: int
    segment_frames: int
    power_floor: float = 0.5
    mean: float = -2.3
    std: float = 0.5

    def converted(self, convert: Callable[[Tensor], Tensor]) -> "Case":
        """Return a copy with all floating-point tensors converted."""
        return Case(
            *(convert(v) if isinstance(v, Tensor) and v.is_floating_point() else v for v in vars(self).values())
        )

    def to(self, device: str) -> "Case":
        return Case(*(v.to(device) if isinstance(v, Tensor) else v for v in vars(self).values()))

    def run(self) -> Tensor:
        arguments = dict(vars(self))
        tensors = [arguments.pop(name) for name in ("waveforms", "start", "num_frames", "window")]
        return log_spectrogram(*tensors, **arguments)

    def backward_arguments(self, grad: Tensor) -> list[Any]:
        return [grad, *(value for name, value in vars(self).items() if name != "mean")]

    def reference(self) -> Tensor:
        return reference.log_spectrogram(*vars(self).values())


SIZES = {  # window, hop, n_fft, bins or bands, with a filterbank, frames of a segment
    "hops wider than a tile": (90, 40, 96, 40, False, 3),
    "more frames than a tile": (20, 3, 32, 17, False, 140),
    "odd window, many bins": (67, 30, 135, 68, False, 4),
    "gaps between frames": (10, 12, 15, 8, False, 7),
    "one sample": (1, 1, 1, 1, False, 3),
    "bands": (20, 8, 70, 20, True, 5),
    "many bands": (9, 4, 16, 130, True, 3),
}


def case(name: str = "odd window, many bins", *, mixed: bool = True, device: str = "cpu") -> Case:
    """Return segments that overlap, repeat, are short, empty or longer than asked for, or end with the last sample."""
    win_length, hop, n_fft, bins, banded, frames = SIZES[name]
    num_frames = torch.tensor([frames, 1, frames, frames - 1, 0, frames + 9])
    start = torch.tensor([0, 5, 0, hop + 1, 3, 20])
    samples = 20 + (frames - 1) * hop + win_length
    return Case(
        torch.randn(samples), start, num_frames, torch.rand(win_length) + 0.1,
        torch.rand(n_fft // 2 + 1, bins) if banded else None,
        torch.randn(samples) if mixed else None, start.roll(1) if mixed else None, torch.rand(6) if mixed else None,
        hop, n_fft, bins, frames,
    ).to(device)  # fmt: skip


def run_and_pull(run: Callable[[], Tensor], waveforms: Tensor, cotangent: Tensor) -> tuple[Tensor, Tensor]:
    out = run()
    (grad,) = torch.autograd.grad(out, waveforms, cotangent.to(out.dtype))
    return out.detach(), grad


def assert_accurate_both_ways(ours: Case, cotangent: Tensor) -> None:
    exact = ours.converted(Tensor.double)
    for each in (ours, exact):
        each.waveforms.requires_grad_()
    out, grad = run_and_pull(ours.run, ours.waveforms, cotangent)
    eager, exact_results = (run_and_pull(c.reference, c.waveforms, cotangent) for c in (ours, exact))
    assert_accurate(out, eager[0], exact_results[0], "values")
    assert_accurate(grad, eager[1], exact_results[1], "gradient of the waveforms")


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("name", "mixed"), [*((name, True) for name in SIZES), ("bands", False), ("one sample", False)]
)
def test_values_and_gradients(name: str, mixed: bool, device: str) -> None:
    ours = case(name, mixed=mixed, device=device)
    assert_accurate_both_ways(ours, torch.randn(6, ours.segment_frames, ours.num_bins, device=device))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", ["more frames than a tile", "gaps between frames", "bands"])
def test_threads_share_segments(name: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "threads_for", lambda *_: threads)
    ours = case(name)
    assert_accurate_both_ways(ours, torch.randn(6, ours.segment_frames, ours.num_bins))


@pytest.mark.kernel
def test_segments_are_added_from_many_blocks(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = pytest.importorskip("fastser_kernels.log_spectrogram.backward_kernels", reason="Triton is not installed")
    monkeypatch.setitem(kernels.SCATTER, "BLOCK", 16)
    ours = case("odd window, many bins", device=device)
    assert_accurate_both_ways(ours, torch.randn(6, ours.segment_frames, ours.num_bins, device=device))


@pytest.mark.kernel
def test_last_samples_of_frames_that_fill_a_tile(device: str) -> None:
    ours = case("more frames than a tile", device=device)
    ours.num_frames = ours.num_frames.clamp(max=128)
    assert_accurate_both_ways(ours, torch.randn(6, ours.segment_frames, ours.num_bins, device=device))


@pytest.mark.kernel
def test_places_beyond_32_bits(device: str) -> None:
    """The memory of zeros is touched only where the excerpt lies, so it costs nothing."""
    if device == "cuda" and torch.cuda.mem_get_info()[0] < 2**33:
        pytest.skip("4 GiB of noise do not fit")
    ours, begin = case("bands", device=device), 2**31 + 100
    ours.noise = torch.from_numpy(np.zeros(begin + 200, np.float16)).to(device)
    ours.noise[begin : begin + 200] = torch.randn(200).half()
    assert ours.noise_start is not None
    ours.noise_start = ours.noise_start + begin
    torch.testing.assert_close(ours.run(), ours.reference(), rtol=1e-5, atol=1e-5)


@pytest.mark.fast
@pytest.mark.kernel
def test_takes_any_layout(device: str) -> None:
    ours = case("bands", device=device)
    ours.waveforms = ours.waveforms.repeat_interleave(2)[::2]
    ours.start, ours.num_frames = torch.stack([ours.start, ours.num_frames], dim=1).unbind(1)
    assert ours.filterbank is not None
    ours.filterbank = ours.filterbank.t().contiguous().t()
    frames, bins = ours.segment_frames, ours.num_bins
    assert_accurate_both_ways(ours, torch.randn(bins, frames, 6, device=device).permute(2, 1, 0))
    assert_accurate_both_ways(ours, torch.randn(1, 1, bins, device=device).expand(6, frames, bins))


@pytest.mark.kernel
def test_noise_of_any_dtype(dtype: torch.dtype, device: str) -> None:
    ours = case("bands", device=device)
    assert ours.noise is not None
    ours.noise = ours.noise.to(dtype)
    out = ours.run()
    assert out.dtype == torch.float32
    assert_accurate(out, ours.reference(), ours.converted(Tensor.double).reference(), "values")


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["odd window, many bins", "bands"])
def test_nothing_beyond_a_segments_frames_is_looked_at(name: str, device: str) -> None:
    ours = case(name, device=device)
    count = (ours.num_frames[3] - 1) * ours.hop_length + ours.window.shape[0]
    inside = torch.arange(len(ours.waveforms), device=device)
    inside = (inside >= ours.start[3]) & (inside < ours.start[3] + count)
    ours.num_frames[torch.arange(6, device=device) != 3] = 0
    assert ours.noise is not None
    assert ours.noise_start is not None
    at = int(ours.noise_start[3])
    ours.waveforms[~inside], ours.noise[:at], ours.noise[at + count :] = math.nan, math.nan, math.nan
    ours.waveforms.requires_grad_()
    out, grad = run_and_pull(ours.run, ours.waveforms, torch.randn(6, ours.segment_frames, ours.num_bins).to(device))
    torch.testing.assert_close(out, ours.reference().detach(), rtol=1e-5, atol=1e-5)
    assert (out[3, ours.segment_frames - 1] == 0).all()
    assert (out[torch.arange(6) != 3] == 0).all()
    assert torch.isfinite(grad).all()
    assert (grad[~inside] == 0).all()
    assert (grad[inside] != 0).all()


@pytest.mark.kernel
@pytest.mark.parametrize("places", [[-3, 5, 30, 0], [-(2**40), 2**40, 2**62, -(2**62)], [-1000, 1000, 33, -50]])
def test_places_outside_are_clamped(places: list[int], device: str) -> None:
    """The public function refuses these places on a CPU; on a GPU the check would wait for the device."""
    ours = case("gaps between frames", device=device)
    start = torch.tensor(places, device=device)
    guarded = torch.full((200,), math.nan, device=device)
    guarded[60:100] = torch.randn(40, device=device)
    ours.waveforms = guarded[60:100]
    require_kernel(ours.waveforms)
    ours.start, ours.noise_start, ours.num_frames = start, start.flip(0), torch.tensor([7, 7, 7, 7], device=device)
    ours.noise, ours.noise_gain = guarded[60:100].flip(0), torch.rand(4, device=device)
    cotangent = torch.randn(4, 7, 8, device=device)
    exact = ours.converted(Tensor.double)
    exact.waveforms.requires_grad_()
    expected, expected_grad = run_and_pull(exact.reference, exact.waveforms, cotangent)
    torch.testing.assert_close(op._forward(*vars(ours).values()).double(), expected, rtol=1e-5, atol=1e-5)
    grad = op._backward(*ours.backward_arguments(cotangent)).double()
    torch.testing.assert_close(grad, expected_grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [0.0, 3e-20, 1e-19, 1e18, 1e20, math.nan])
@pytest.mark.parametrize("name", ["gaps between frames", "bands"])
def test_silence_and_values_out_of_range(name: str, scale: float) -> None:
    """Without a power floor silence is -inf. Powers may be subnormal or overflow."""
    ours = case(name, mixed=False)
    ours.waveforms, ours.power_floor = ours.waveforms * scale, 0.0
    torch.testing.assert_close(ours.run(), ours.reference(), rtol=1e-5, atol=2e-3, equal_nan=True)


@pytest.mark.kernel
@pytest.mark.parametrize("segments", [0, 2])
def test_an_empty_batch_is_no_error(segments: int, device: str) -> None:
    ours = case(device=device)
    for name in ("start", "num_frames", "noise_start", "noise_gain"):
        setattr(ours, name, torch.zeros_like(getattr(ours, name)[:segments]))
    ours.waveforms.requires_grad_()
    shape = (segments, ours.segment_frames, ours.num_bins)
    out, grad = run_and_pull(ours.run, ours.waveforms, torch.ones(shape, device=device))
    assert torch.equal(out, torch.zeros(shape, device=device))
    assert torch.equal(grad, torch.zeros_like(grad))


@on_gpu
@pytest.mark.parametrize("banded", [False, True])
def test_at_full_size_bits_repeat_and_memory_is_that_of_the_results(banded: bool, torchaudio_functional: Any) -> None:
    """Neither a frame matrix nor a spectrum is in memory."""
    filterbank = torchaudio_functional.melscale_fbanks(N_FFT // 2 + 1, 0.0, RATE / 2, 64, RATE) if banded else None
    frames, bins = 256, 64 if banded else 128
    waveforms, start = torch.randn(3_000_000, requires_grad=True), torch.arange(64) * 20_000
    ours = Case(
        waveforms.detach(), start, torch.full((64,), frames), torch.hamming_window(WINDOW), filterbank,
        torch.randn(3_000_000), start.flip(0), torch.rand(64), HOP, N_FFT, bins, frames, 1e-10, -40.0, 15.0,
    ).to("cuda")  # fmt: skip
    cotangent = torch.randn(64, frames, bins, device="cuda")
    assert_accurate_both_ways(ours, cotangent)
    first, again = (run_and_pull(ours.run, ours.waveforms, cotangent) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    ours.waveforms.requires_grad_(False)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    out = ours.run()
    assert torch.cuda.max_memory_allocated() - before < 1.1 * out.numel() * out.element_size()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("name", "noise_dtype"),
    [("odd window, many bins", None), *(("bands", noise) for noise in (torch.float32, torch.float16, torch.bfloat16))],
)
def test_passes_opcheck(name: str, noise_dtype: torch.dtype | None, dtype: torch.dtype) -> None:
    ours = case(name, mixed=noise_dtype is not None).converted(lambda tensor: tensor.to(dtype))
    if ours.noise is not None:
        ours.noise = ours.noise.to(noise_dtype)
    require_kernel(ours.waveforms)
    opcheck(op._forward, list(vars(ours).values()))
    opcheck(op._backward, ours.backward_arguments(torch.randn(6, ours.segment_frames, ours.num_bins, dtype=dtype)))


@pytest.mark.parametrize("name", SIZES)
def test_gradcheck(name: str) -> None:
    ours = case(name).converted(Tensor.double)

    def run(waveforms: Tensor) -> Tensor:
        ours.waveforms = waveforms
        return ours.run()

    assert torch.autograd.gradcheck(run, ours.waveforms.requires_grad_(), fast_mode=True)


def test_compiled_equals_eager() -> None:
    ours = case("bands")
    ours.waveforms.requires_grad_()
    cotangent = torch.randn(6, ours.segment_frames, ours.num_bins)
    expected = run_and_pull(ours.run, ours.waveforms, cotangent)
    torch.testing.assert_close(run_and_pull(compiled(ours.run), ours.waveforms, cotangent), expected)


def test_wrong_arguments_are_named() -> None:
    good = vars(case("bands"))

    def run(**changed: Any) -> Tensor:
        return Case(**(good | changed)).run()

    with pytest.raises(TypeError, match="waveforms must be float32 or float64, got float16"):
        run(waveforms=good["waveforms"].half())
    with pytest.raises(TypeError, match="num_frames must be int64, got int32"):
        run(num_frames=good["num_frames"].int())
    with pytest.raises(TypeError, match="noise must be floating point, got int16"):
        run(noise=good["noise"].short())
    with pytest.raises(ValueError, match="noise_gain must be on cpu as waveforms, got meta"):
        run(noise_gain=good["noise_gain"].to("meta"))
    with pytest.raises(ValueError, match="hop_length must be at least 1, got 0"):
        run(hop_length=0)
    with pytest.raises(ValueError, match=r"window must be \[1 to n_fft = 70 samples\], got \[71\]"):
        run(window=torch.ones(71))
    with pytest.raises(ValueError, match=r"filterbank must be \[36, 20\], got \[20, 36\]"):
        run(filterbank=good["filterbank"].t())
    with pytest.raises(ValueError, match=r"noise needs noise_start and noise_gain, both \[6\] as start"):
        run(noise_gain=None)
    with pytest.raises(ValueError, match=r"noise_start and noise_gain need noise, got None"):
        run(noise=None, noise_gain=None)
    with pytest.raises(ValueError, match=r"noise must be \[samples\], got \[2, 50\]"):
        run(noise=torch.ones(2, 50))
    for name in ("waveforms", "noise"):
        with pytest.raises(ValueError, match=rf"{name} must hold at least one sample, got \[0\]"):
            run(**{name: good[name][:0]})
    with pytest.raises(IndexError, match=r"start\[2\] = 0 with -1 frames leaves the waveforms of \d+ samples"):
        run(num_frames=torch.tensor([1, 1, -1, 1, 1, 1]))


@pytest.mark.fast
@pytest.mark.parametrize(("start", "frames"), [(-5, 2), (53, 1), (2**63 - 1, 1), (-(2**63), 1)])
def test_a_place_outside_is_named(start: int, frames: int) -> None:
    """The signal has 72 samples, a frame has 20."""
    ours, places, zeros = case("bands", mixed=False), torch.tensor([0, start]), torch.zeros(2, dtype=torch.int64)
    ours.waveforms, ours.start, ours.num_frames = torch.randn(72), places, torch.tensor([1, frames])
    sentence = rf"\[1\] = {start} with {frames} frames leaves the"
    with pytest.raises(IndexError, match=f"^start{sentence} waveforms of 72 samples$"):
        ours.run()
    ours.start, ours.noise, ours.noise_start, ours.noise_gain = zeros, ours.waveforms, places, torch.ones(2)
    with pytest.raises(IndexError, match=f"^noise_start{sentence} noise of 72 samples$"):
        ours.run()


@pytest.mark.parametrize("name", ["window", "filterbank", "noise", "noise_gain"])
def test_only_the_waveforms_have_a_gradient(name: str) -> None:
    ours = case("bands")
    getattr(ours, name).requires_grad_()
    with pytest.raises(ValueError, match=f"{name} requires a gradient, but log_spectrogram has one for waveforms only"):
        ours.run()
    with torch.no_grad():
        ours.run()


def test_second_derivatives_run_through_the_reference() -> None:
    ours, slopes = case("bands"), []
    ours.waveforms.requires_grad_()
    cotangent = torch.randn(6, ours.segment_frames, ours.num_bins)
    for kernels in (torch.enable_grad(), reference_kernels()):
        with kernels:
            (grad,) = torch.autograd.grad(ours.run(), ours.waveforms, cotangent, create_graph=True)
            slopes += torch.autograd.grad(grad.square().sum(), ours.waveforms)
    torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-3)
