"""Predicted paces on GPUs, for the estimate on a machine that has none.

They come from a cost model of the kernels and are not measured. `python -m benchmarks.predicted --write` makes
`predicted_paces.json` and the page `benchmarks/results/predicted.md`, which explains the model.
"""

import json
from pathlib import Path

from fastser.experiment.estimate import Pace
from fastser.settings import SCALES, Settings

PACES = Path(__file__).with_name("predicted_paces.json")
"""Seconds per segment by scale, chip and model: training step in bfloat16, forward pass and attack step in float32."""


def predicted_paces(settings: Settings) -> dict[str, dict[str, Pace]]:
    """Return the predicted paces by chip and model, or nothing for settings that they do not hold for.

    They hold for the segments, models and batches of the scales in `PACES`, and for tests in float32.

    Args:
        settings: All settings.
    """
    usual = SCALES[settings.scale]
    given, known = ((s.spectrogram, s.model, s.training.batch_size, s.evaluation) for s in (settings, usual))
    if given != known:
        return {}
    by_chip = json.loads(PACES.read_text()).get(settings.scale, {})
    return {chip: {model: Pace(*pace) for model, pace in models.items()} for chip, models in by_chip.items()}
