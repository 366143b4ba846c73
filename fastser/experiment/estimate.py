"""How long a plan will take: what a model does with a batch is timed here and now, the rest is counting segments."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

import torch

from fastser.attacks import BIM
from fastser.evaluation.inference import BATCH_SIZE
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.models import build_model
from fastser.settings import Settings
from fastser.training.loss import loss_function

EXPECTED_SHARE_OF_EPOCHS = 0.6
"""Share of the epoch limit after which early stopping is assumed to end a training at paper scale."""

ROUNDS = 3
"""Batches of each kind that are timed, after a first one that is not."""

CPU_BATCH_VALUES = 2**18
"""Values of a batch on a CPU, which reaches its pace with few: 8 segments of the paper's size."""

ATTACK_STEPS = 4


@dataclass(frozen=True)
class Pace:
    """Seconds per segment of one model: of a training step, of a forward pass in a test, of one step of an attack."""

    training: float
    forward: float
    attack: float


@dataclass(frozen=True)
class CostModel:
    """What was measured: the pace of each model, on batches of so many segments, and where."""

    pace: dict[str, Pace]
    batch: int
    device: str

    @classmethod
    def measure(cls, models: Iterable[str], settings: Settings, device: torch.device) -> "CostModel":
        """Time a few batches of random segments with each model."""
        spectrogram, options = settings.spectrogram, settings.training
        size = spectrogram.segment_frames, spectrogram.num_bins
        few = max(CPU_BATCH_VALUES // (size[0] * size[1]), 1)
        batch = min(options.batch_size, BATCH_SIZE if device.type == "cuda" else few)
        x = torch.randn(batch, *size, device=device)
        y = torch.zeros(batch, dtype=torch.int64, device=device)
        return cls({name: _pace(name, settings, x, y) for name in models}, batch, str(device))

    def epochs(self, settings: Settings) -> float:
        """Epochs that a training is assumed to take."""
        return settings.training.max_epochs * (1.0 if settings.scale == "quick" else EXPECTED_SHARE_OF_EPOCHS)

    def seconds(self, experiment: Experiment, cell: GridPoint) -> float:
        """Estimated wall time of one training with all of its tests."""
        training, validation, test = (len(part.segments) for part in experiment.subsets(cell))
        settings, pace = experiment.settings, self.pace[cell.model]
        forwards, attacks = 1, 0
        if cell.task == "source":
            attacks = 1 + settings.attack.bim_steps
            forwards += 2 + (len(settings.noise.scenes) * len(settings.noise.snr_db) if experiment.noise else 0)
        epoch = training * pace.training + validation * pace.forward
        return self.epochs(settings) * epoch + test * (forwards * pace.forward + attacks * pace.attack)


def _pace(name: str, settings: Settings, x: torch.Tensor, y: torch.Tensor) -> Pace:
    spectrogram, attack = settings.spectrogram, settings.attack
    model = build_model(
        name, settings=settings.model, segment_frames=spectrogram.segment_frames, num_bins=spectrogram.num_bins
    ).to(x.device)
    optimizer = torch.optim.Adam(model.parameters())
    compute_loss = loss_function(x.device)
    bim = BIM(model, attack.eps, attack.eps * attack.bim_relative_step, ATTACK_STEPS)

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        compute_loss(model, x, y, None, None).backward()
        optimizer.step()

    def test() -> None:
        with torch.no_grad():
            model(x)

    in_training = _seconds(train, x.device) / len(x)
    model.eval()
    in_test, in_attack = _seconds(test, x.device), _seconds(lambda: bim(x, y), x.device)
    return Pace(in_training, in_test / len(x), in_attack / ATTACK_STEPS / len(x))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Median of a few calls, each to its end on the device; the first one, which may compile, is not timed."""
    times = []
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return median(times[1:])


def format_duration(seconds: float) -> str:
    """A duration as people say it: "40 s", "12 min", "3.5 h", "9 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"
