"""Log-spectrogram segments from packed waveforms."""

from fastser_kernels.log_spectrogram.op import log_spectrogram

__all__ = ["log_spectrogram"]
