"""Modules of the fused operations in `fastser_kernels`, for use in any model, also under `torch.compile`.

Feature maps are `[N, C, T, F]`: batch, channels, frames, bins. A layer with weights takes float32, float16, bfloat16
and, on a CPU, float64. `LogSpectrogram` takes float32 and float64. Outputs have the dtype of the input. Under
`torch.autocast` a layer with weights casts its input to the autocast dtype, unless it is float64. State dicts have the
names and shapes of nn.BatchNorm2d, nn.Conv2d, nn.Linear and nn.LSTM.

A layer computes with the tensors of its inner modules as long as these are plain (`fastser.runtime.inner_modules`). It
calls them if they have hooks, parametrizations or settings of their own, or are replaced: spectral_norm, weight_norm,
pruning, SyncBatchNorm, quantisation and wrappers work as in a model of plain modules. The result then has the layout
that these give it.
"""

from fastser.layers.dense import DenseBlock, DenseLayer
from fastser.layers.highway import Highway
from fastser.layers.normalisation import FusedSequential, normalised_relu
from fastser.layers.pooling import MaxPoolReLU
from fastser.layers.recurrent import LSTM
from fastser.layers.spectrogram import LogSpectrogram
from fastser.layers.transition import Transition

__all__ = [
    "LSTM",
    "DenseBlock",
    "DenseLayer",
    "FusedSequential",
    "Highway",
    "LogSpectrogram",
    "MaxPoolReLU",
    "Transition",
    "normalised_relu",
]
