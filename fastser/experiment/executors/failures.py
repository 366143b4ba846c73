"""Failures of runs: the reason in one sentence, and whether the process can continue."""

import torch

from fastser.data.corpora import CorpusError
from fastser.data.noise import NoiseError
from fastser.evaluation.inference import BATCH_SIZE
from fastser.experiment.experiment import Experiment
from fastser.runtime.full_memory import full_memory_sentence, is_out_of_gpu_memory, is_out_of_memory
from fastser.training.batch_size import advice, fitting_batch_size
from fastser.training.state import TrainingError
from fastser.training.yardsticks import YARDSTICKS

SELF_EXPLANATORY_ERRORS = (TrainingError, NoiseError, CorpusError, OSError)
"""Exceptions shown to the user without their type."""


def in_one_sentence(error: Exception) -> str:
    """Return the message of an exception without the parts that are for programmers."""
    if is_out_of_memory(error):
        return full_memory_sentence(error)
    first = (str(error) or type(error).__name__).splitlines()[0]
    return first if isinstance(error, SELF_EXPLANATORY_ERRORS) or not str(error) else f"{type(error).__name__}: {first}"


def out_of_gpu_memory(experiment: Experiment, model: str, condition: str | None) -> str:
    """Return the reason why a run did not fit on the GPU, and a batch size that fits.

    Args:
        experiment: Experiment of the run.
        model: Name of its model.
        condition: Condition that was being tested, or None during the training.
    """
    if model in YARDSTICKS:
        doing = "the yardstick was fitted" if condition is None else f"one utterance was tested under {condition}"
        return f"out of GPU memory while {doing}"
    if condition is not None:
        return f"out of GPU memory while {BATCH_SIZE} segments were tested under {condition}"
    spectrogram, training = experiment.settings.spectrogram, experiment.settings.training
    segment, batch_size = (spectrogram.segment_frames, spectrogram.num_bins), training.batch_size
    try:
        fits = fitting_batch_size(
            lambda: experiment.model(model), batch_size, segment, experiment.device, experiment.precision
        )
    except RuntimeError:  # the failed run may have left the GPU in any state
        return f"out of GPU memory at batch size {batch_size}"
    return advice(batch_size, fits)


def device_is_lost(device: torch.device) -> bool:
    """Return whether this process can no longer compute on a device, as after an illegal access on a GPU."""
    try:
        torch.zeros(1, device=device).item()
    except RuntimeError as error:
        return not is_out_of_gpu_memory(error)
    return False
