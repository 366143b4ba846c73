"""Why a training failed, in one sentence, and whether its process can go on."""

import re

import torch

from fastser.data.corpora.base import CorpusError
from fastser.data.noise import NoiseError
from fastser.evaluation.inference import BATCH_SIZE
from fastser.experiment.experiment import Experiment
from fastser.training.batch_size import advice, fitting_batch_size, is_out_of_gpu_memory
from fastser.training.loop import TrainingError

SPEAKING_ERRORS = (TrainingError, NoiseError, CorpusError, OSError)
"""Exceptions whose message says all; of others their name is said too."""


def in_one_sentence(error: Exception) -> str:
    """What an exception says, without what is only for programmers."""
    first = (str(error) or type(error).__name__).splitlines()[0]
    if isinstance(error, MemoryError) or re.search(r"not enough memory|can't allocate memory", first):
        return f"out of main memory: {first.rpartition('DefaultCPUAllocator: ')[2]}"
    return first if isinstance(error, SPEAKING_ERRORS) or not str(error) else f"{type(error).__name__}: {first}"


def out_of_gpu_memory(experiment: Experiment, model: str, testing: str | None) -> str:
    """Why a training did not fit on the GPU, and what would.

    Args:
        experiment: What it belongs to.
        model: Name of its architecture.
        testing: The condition that was tested, None if it was still in training.
    """
    if testing is not None:
        return f"out of GPU memory while {BATCH_SIZE} segments were tested under {testing}"
    spectrogram, batch_size = experiment.settings.spectrogram, experiment.settings.training.batch_size
    segment = spectrogram.segment_frames, spectrogram.num_bins
    fits = fitting_batch_size(lambda: experiment.model(model), batch_size, segment, experiment.device)
    return advice(batch_size, fits)


def device_is_lost(device: torch.device) -> bool:
    """Whether nothing can be computed on a device by this process any more, as after an illegal access on a GPU."""
    try:
        torch.zeros(1, device=device).item()
    except RuntimeError as error:
        return not is_out_of_gpu_memory(error)
    return False
