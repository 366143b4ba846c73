"""How long a plan will take: one training step of each model is timed, the rest is counting segments."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from fastser.experiment import Experiment
from fastser.models import build_model
from fastser.protocol import Cell
from fastser.settings import Settings
from fastser.training_step import loss_function

EXPECTED_SHARE_OF_EPOCHS = 0.6
"""Share of the epoch limit after which early stopping is assumed to end a training."""

_TRIAL_BATCH = 4
_TRIALS = 2
_FORWARD_SHARE = 1 / 3
_ATTACK_SHARE = 2 / 3


@dataclass(frozen=True)
class CostModel:
    """Seconds of a training step per segment, by model."""

    seconds_per_segment: dict[str, float]

    @classmethod
    def measure(cls, models: Iterable[str], settings: Settings, device: torch.device) -> "CostModel":
        """Time a few training steps of each model on random segments."""
        spectrogram = settings.spectrogram
        batch = min(_TRIAL_BATCH * (256 // min(spectrogram.segment_frames, 256)), settings.training.batch_size)
        x = torch.randn(batch, spectrogram.segment_frames, spectrogram.num_bins, device=device)
        y = torch.zeros(batch, dtype=torch.int64, device=device)
        seconds: dict[str, float] = {}
        for name in models:
            model = build_model(
                name,
                widths=settings.widths,
                segment_frames=spectrogram.segment_frames,
                num_bins=spectrogram.num_bins,
            ).to(device)
            times = []
            for _ in range(1 + _TRIALS):
                began = time.perf_counter()
                loss_function(device)(model, x, y, None, None).backward()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                times.append((time.perf_counter() - began) / batch)
            seconds[name] = min(times[1:])
        return cls(seconds)

    def seconds(self, experiment: Experiment, cell: Cell) -> float:
        """Estimated wall time of one training with all of its tests."""
        training, validation, test = (len(part.segments) for part in experiment.subsets(cell))
        settings = experiment.settings
        epochs = settings.training.max_epochs * (1.0 if settings.scale == "quick" else EXPECTED_SHARE_OF_EPOCHS)
        forwards, attacks = 1, 0
        if cell.task == "source":
            attacks = 1 + settings.attack.bim_steps
            forwards += len(settings.noise.scenes) * len(settings.noise.snr_db) if experiment.noise else 0
        per_epoch = training + _FORWARD_SHARE * validation
        tests = test * (_FORWARD_SHARE * forwards + _ATTACK_SHARE * attacks)
        return self.seconds_per_segment[cell.model] * (epochs * per_epoch + tests)


def spoken(seconds: float) -> str:
    """A duration as people say it: "40 s", "12 min", "3.5 h", "9 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"
