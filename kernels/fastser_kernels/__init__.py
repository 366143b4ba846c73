"""The hot paths of fastser as functions of tensors. The package needs torch only and works without the rest of fastser.

Each family of operations has its own folder. On a GPU the operations are Triton kernels. On a CPU they are compiled
C++ (`native/`). Feature maps are `[N, C, T, F]` (time before frequency) and, for speed, channels_last
in memory.
"""

from fastser_kernels.choice import kernel_mode, reference_kernels, reference_kernels_active, use_kernels
from fastser_kernels.dense_block import dense_block
from fastser_kernels.gather import gather_mixup, gather_segments
from fastser_kernels.highway import highway
from fastser_kernels.linf_step import linf_step
from fastser_kernels.log_spectrogram import log_spectrogram
from fastser_kernels.lstm import lstm
from fastser_kernels.max_pool_relu import max_pool_relu
from fastser_kernels.norm_relu import norm_relu
from fastser_kernels.transition import transition

__all__ = [
    "dense_block",
    "gather_mixup",
    "gather_segments",
    "highway",
    "kernel_mode",
    "linf_step",
    "log_spectrogram",
    "lstm",
    "max_pool_relu",
    "norm_relu",
    "reference_kernels",
    "reference_kernels_active",
    "transition",
    "use_kernels",
]
