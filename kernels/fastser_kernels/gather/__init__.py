"""Batches cut from a packed bank of spectrogram frames, and mixtures of two."""

from fastser_kernels.gather.op import gather_mixup, gather_segments

__all__ = ["gather_mixup", "gather_segments"]
