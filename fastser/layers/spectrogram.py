"""Log-power spectrogram."""

import torch
from fastser_kernels import log_spectrogram
from fastser_kernels.checks import check_positive, check_power_floor
from torch import Tensor, nn


class LogSpectrogram(nn.Module):
    """Differentiable log-power spectrogram in decibels.

    Frames are not centred, and the window is padded with zeros on the right to `n_fft` samples. The defaults are those
    of the paper at 16 kHz: a Hamming window of 25 ms, a hop of 10 ms and the lowest 128 bins.

    Args:
        win_length: Length of the periodic Hamming window in samples.
        hop_length: Samples from one frame to the next.
        n_fft: Length of the DFT, at least `win_length`.
        num_bins: Number of lowest bins in the result.
        power_floor: Power that is added before the logarithm.

    Shape:
        `[N, samples]` -> `[N, frames, num_bins]` with `frames = 1 + (samples - win_length) // hop_length`.

    Raises:
        ValueError: If an argument is below 1 or `power_floor` out of range, or if another is too large for `n_fft`.

    Source: Latif et al. 2020, section 4.2.

    Example:
        >>> import torch
        >>> LogSpectrogram()(torch.randn(2, 16_000)).shape
        torch.Size([2, 98, 128])
    """

    window: Tensor

    def __init__(
        self,
        win_length: int = 400,
        hop_length: int = 160,
        n_fft: int = 512,
        num_bins: int = 128,
        power_floor: float = 1e-10,
    ) -> None:
        super().__init__()
        check_positive(win_length=win_length, hop_length=hop_length, num_bins=num_bins)
        check_power_floor(power_floor)
        if win_length > n_fft:
            raise ValueError(f"win_length must be at most n_fft = {n_fft}, got {win_length}")
        if num_bins > n_fft // 2 + 1:
            raise ValueError(f"num_bins must be at most n_fft // 2 + 1 = {n_fft // 2 + 1}, got {num_bins}")
        self.hop_length = hop_length
        self.n_fft = n_fft
        self.num_bins = num_bins
        self.power_floor = power_floor
        self.register_buffer("window", torch.hamming_window(win_length, dtype=torch.float64).float(), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return the spectrograms of waveforms.

        Args:
            waveforms: Waveforms of at least `win_length` samples, `[N, samples]`.

        Returns:
            Decibels, `[N, frames, num_bins]`.

        Raises:
            ValueError: If `waveforms` has another number of dimensions or too few samples.
        """
        win_length = self.window.shape[0]
        if waveforms.dim() != 2 or waveforms.shape[1] < win_length:
            raise ValueError(f"waveforms must be [N, samples >= {win_length}], got {list(waveforms.shape)}")
        number, samples = waveforms.shape
        frames = 1 + (samples - win_length) // self.hop_length
        return log_spectrogram(
            waveforms.reshape(-1),
            torch.arange(number, device=waveforms.device) * samples,
            torch.full((number,), frames, dtype=torch.int64, device=waveforms.device),
            self.window.to(waveforms.dtype),
            hop_length=self.hop_length,
            n_fft=self.n_fft,
            num_bins=self.num_bins,
            segment_frames=frames,
            power_floor=self.power_floor,
        )

    def extra_repr(self) -> str:
        """Return the constructor arguments."""
        return (
            f"win_length={self.window.shape[0]}, hop_length={self.hop_length}, n_fft={self.n_fft}, "
            f"num_bins={self.num_bins}"
        )
