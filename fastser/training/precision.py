"""Choice of the precision of a grid: hardware, size of a training step, and a self-test.

All runs of a grid have the same precision, so that its models can be compared. It is chosen before the keys of the runs
are made. A key therefore never contains "auto", and no result is reused in another precision.
"""

import logging
from functools import cache

import torch

from fastser.models import STEM_STRIDES
from fastser.runtime.precision import (
    Convolution,
    MatrixProduct,
    Operation,
    Precision,
    first_wrong,
    multiplies_bfloat16_fast,
    multiplies_float16_alone_fast,
)
from fastser.settings import Settings

log = logging.getLogger(__name__)

SMALLEST_BFLOAT16_STEP = {"cpu": 2**18, "cuda": 0}
"""Values in the first maps of a training step (`first_map_values`) from which `auto` takes 16 bits, by type of device.

Smaller steps on a CPU gain little. They stay in float32, so that the precision of quick runs does not depend on the
CPU. `docs/performance.md` has the times that `python -m benchmarks.precision_of_steps` measured. For GPUs there are
none.
"""


def with_chosen_precision(settings: Settings, device: torch.device) -> Settings:
    """Return the settings with a dtype for every precision.

    `training.precision=auto` becomes bfloat16 where the device multiplies it fast and a training step is large enough.
    It becomes float16 on GPUs with tensor cores for that dtype alone, and float32 elsewhere. bfloat16 becomes float32,
    with one warning per process, where the self-test fails and on GPUs that do not have it.

    Args:
        settings: All settings. Settings without "auto" and bfloat16 are returned as they are.
        device: Device of the models.
    """
    training, evaluation = settings.training.precision, settings.evaluation.precision
    if training == "auto":
        smallest = SMALLEST_BFLOAT16_STEP.get(device.type)
        large = smallest is not None and first_map_values(settings) >= smallest
        training = _fastest(device) if large else "float32"
    fault = bfloat16_fault(settings, device) if "bfloat16" in (training, evaluation) else None
    if fault is not None:
        _warn(f"{fault}. Models are trained and tested in float32.")
        training = evaluation = "float32"
    return _with_precisions(settings, training, evaluation)


def _fastest(device: torch.device) -> Precision:
    """Return the precision in which a device computes large training steps fastest."""
    if multiplies_bfloat16_fast(device):
        return "bfloat16"
    return "float16" if multiplies_float16_alone_fast(device) else "float32"


def training_precision(settings: Settings, device: torch.device) -> Precision:
    """Return the precision in which models are trained. See `with_chosen_precision`."""
    precision = with_chosen_precision(settings, device).training.precision
    assert precision != "auto"
    return precision


def bfloat16_fault(settings: Settings, device: torch.device) -> str | None:
    """Return a sentence without a full stop about an operation that is wrong in bfloat16, or None.

    Only CPUs are tested. A GPU of this machine must have bfloat16 arithmetic.
    """
    if device.type == "cuda" and not multiplies_bfloat16_fast(device):
        return f"{torch.cuda.get_device_name(device)} has no arithmetic in bfloat16"
    wrong = first_wrong(operations(settings)) if device.type == "cpu" else None
    return wrong and f"PyTorch {torch.__version__} computes {wrong} wrongly in bfloat16 on this CPU"


def first_map_values(settings: Settings) -> int:
    """Return the number of values in the first maps of the proposed model, for one training batch."""
    spectrogram, stride = settings.spectrogram, STEM_STRIDES[settings.model.stem]
    frames, bins = (-(-size // stride) for size in (spectrogram.segment_frames, spectrogram.num_bins))
    return settings.training.batch_size * 2 * settings.model.proposed_growth_rate * frames * bins


def operations(settings: Settings) -> tuple[Operation, ...]:
    """Return the kinds of convolutions and matrix products of the five models, with the sizes of these settings."""
    model = settings.model
    kernel, stride = ((3, 3), 1) if model.stem == "conv3x3" else ((7, 7), 2)
    growth_rates = dict.fromkeys((model.proposed_growth_rate, model.densenet_growth_rate))
    found: list[Operation] = [Convolution(1, 2 * rate, kernel, stride) for rate in growth_rates]
    found += [Convolution(2 * rate, rate, (3, 3)) for rate in growth_rates]
    widest = (2 + model.layers_per_block) * model.proposed_growth_rate
    found.append(Convolution(widest, int(model.compression * widest), (1, 1)))
    inputs = 1
    for filters, (bins, frames) in zip(model.cnn_filters, model.cnn_kernels, strict=True):
        found.append(Convolution(inputs, filters, (frames, bins)))
        inputs = filters
    found.append(MatrixProduct(model.lstm_units, 4 * model.lstm_units))
    found.append(MatrixProduct(model.lstm_units + model.highway_units, model.highway_units))
    return tuple(found)


def describe(settings: Settings) -> str:
    """Return the chosen precisions as text for the plan and the report."""
    training, evaluation = settings.training.precision, settings.evaluation.precision
    return training if training == evaluation else f"{training} in training, {evaluation} in tests"


def _with_precisions(settings: Settings, training: Precision, evaluation: Precision) -> Settings:
    if (training, evaluation) == (settings.training.precision, settings.evaluation.precision):
        return settings
    return settings.model_copy(
        update={
            "training": settings.training.model_copy(update={"precision": training}),
            "evaluation": settings.evaluation.model_copy(update={"precision": evaluation}),
        }
    )


@cache
def _warn(text: str) -> None:
    log.warning("%s", text)
