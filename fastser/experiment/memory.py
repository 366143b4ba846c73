"""Estimate of the main memory that a run takes on a CPU."""

import torch
from torch import Tensor, nn

from fastser.evaluation.inference import BATCH_SIZE
from fastser.experiment.experiment import Experiment
from fastser.runtime.precision import in_precision
from fastser.training.yardsticks import YARDSTICKS

PROCESS_BYTES = 400 * 2**20
"""Memory of a process with torch and fastser that it does not share (some 230 MB), and room for buffers of a step."""

_SEGMENTS = 2
"""Segments of the forward pass that is measured."""

_PER_SAVED_BYTE = 2
"""Peak of a step per byte that its forward pass saves: the saved maps, and gradients of about the same size."""

_PER_WEIGHT = 4
"""Copies of the weights: themselves, their gradients and two moments of the optimiser."""


def run_bytes(name: str, experiment: Experiment) -> int:
    """Estimate the memory of a process that executes runs of a model, in bytes.

    The corpora are not counted, because processes share them. A yardstick counts as a bare process, and so does a model
    that fails, because its runs will fail too.

    Args:
        name: Name of the model.
        experiment: Settings and classes.
    """
    if name in YARDSTICKS:
        return PROCESS_BYTES
    spectrogram, settings = experiment.settings.spectrogram, experiment.settings
    segments = max(settings.training.batch_size, BATCH_SIZE)
    x = torch.zeros(_SEGMENTS, spectrogram.segment_frames, spectrogram.num_bins, device="cpu")
    try:
        model = experiment.model(name, device=x.device)
        with experiment.kernels():
            saved = _saved_bytes(in_precision(model, experiment.precision), x)
    except Exception:  # a registered model can be wrong in any way
        return PROCESS_BYTES
    weights = sum(parameter.nbytes for parameter in model.parameters())
    return PROCESS_BYTES + _PER_WEIGHT * weights + _PER_SAVED_BYTE * saved * segments // _SEGMENTS


def _saved_bytes(model: nn.Module, x: Tensor) -> int:
    """Return the bytes that a forward pass saves for the backward pass, without the weights."""
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            sizes[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(x)
    return sum(sizes.values())
