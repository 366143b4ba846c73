"""Estimate of the time that a plan takes: paces measured here and now, times numbers of segments."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch

from fastser.attacks import BIM
from fastser.evaluation.condition import Cost
from fastser.evaluation.conditions import conditions
from fastser.evaluation.inference import BATCH_SIZE
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.runtime.precision import Precision, in_precision
from fastser.settings import Settings
from fastser.training.loss import loss_function
from fastser.training.yardsticks import YARDSTICKS

log = logging.getLogger(__name__)

EXPECTED_SHARE_OF_EPOCHS = 0.6
"""Share of the epoch limit after which the schedule "plateau" is assumed to end a training, if it can end early."""

ROUNDS = 3
"""Timed batches of each kind, after one that is not timed."""

CPU_BATCH_VALUES = 2**18
"""Values in a batch on a CPU, which reaches its full pace with few: 8 segments of the paper's size."""

ATTACK_STEPS = 4

MEASUREMENTS = 3
"""Measurements of one network: training step, forward pass, attack step."""


@dataclass(frozen=True)
class Pace:
    """Seconds per segment of one model.

    Attributes:
        training: Training step.
        forward: Forward pass of a test.
        attack: One step of an attack.
    """

    training: float
    forward: float
    attack: float

    def seconds(self, counts: "SegmentCounts") -> float:
        """Return the time of so many segments."""
        return counts.training * self.training + counts.forward * self.forward + counts.attack * self.attack


@dataclass(frozen=True)
class SegmentCounts:
    """Segments that one run passes through its model.

    Attributes:
        training: Segments of all training steps.
        forward: Segments of all forward passes of validations and tests.
        attack: Segments of all steps of attacks.
    """

    training: float
    forward: float
    attack: float


@dataclass(frozen=True)
class CostModel:
    """Measured paces.

    Attributes:
        pace: Pace of each network, by name.
        batch: Segments in a timed batch.
        device: Device of the measurement.
    """

    pace: dict[str, Pace]
    batch: int
    device: str

    @classmethod
    def measure(
        cls,
        models: Iterable[str],
        experiment: Experiment,
        device: torch.device,
        threads: int | None = None,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> "CostModel":
        """Time a few batches of random segments with each network.

        Args:
            models: Names of models. Yardsticks are not timed.
            experiment: Settings and classes.
            device: Device of the measurement.
            threads: Threads on a CPU. None for those of this process.
            on_step: Called with a text before each measurement, of which a network has `MEASUREMENTS`.
        """
        spectrogram, options = experiment.settings.spectrogram, experiment.settings.training
        size = spectrogram.segment_frames, spectrogram.num_bins
        few = max(CPU_BATCH_VALUES // (size[0] * size[1]), 1)
        batch = min(options.batch_size, BATCH_SIZE if device.type == "cuda" else few)
        x = torch.randn(batch, *size, generator=torch.Generator().manual_seed(0), device="cpu").to(device)
        y = torch.zeros(batch, dtype=torch.int64, device=device)
        with experiment.kernels(), _on_threads(threads or torch.get_num_threads()):
            networks = [name for name in models if name not in YARDSTICKS]
            return cls(
                {name: _pace_or_nothing(name, experiment, x, y, on_step) for name in networks}, batch, str(device)
            )

    def seconds(self, experiment: Experiment, point: GridPoint) -> float:
        """Estimate the wall time of one run with all of its tests. Yardsticks count as no time."""
        if point.model in YARDSTICKS:
            return 0.0
        return self.pace[point.model].seconds(segment_counts(experiment, point))


def epochs(settings: Settings) -> float:
    """Return the number of epochs that a training is assumed to take."""
    training = settings.training
    ends_early = training.schedule == "plateau" and training.stop_after < training.max_epochs
    return training.max_epochs * (EXPECTED_SHARE_OF_EPOCHS if ends_early else 1.0)


def cost_of_tests(task: str, settings: Settings, *, with_noise: bool) -> Cost:
    """Return the work for each test segment of a task under all of its conditions."""
    costs = [condition.cost(settings) for condition in conditions(task, settings, with_noise=with_noise)]
    return Cost(sum(cost.forward_passes for cost in costs), sum(cost.attack_steps for cost in costs))


def segment_counts(experiment: Experiment, point: GridPoint) -> SegmentCounts:
    """Return the segments that one run passes through its model. They are the same for every network."""
    training, validation, test = (len(part.segments) for part in experiment.subsets(point))
    settings = experiment.settings
    cost = cost_of_tests(point.task, settings, with_noise=experiment.noise is not None)
    number = epochs(settings)
    forward = number * validation + test * cost.forward_passes
    return SegmentCounts(number * training, forward, test * cost.attack_steps)


@contextmanager
def _on_threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _pace_or_nothing(
    name: str, experiment: Experiment, x: torch.Tensor, y: torch.Tensor, on_step: Callable[[str], None]
) -> Pace:
    """Return the pace of a model, or zeros for a model that fails. Its runs will fail too, and be recorded."""
    try:
        return _pace(name, experiment, x, y, on_step)
    except Exception as error:  # a registered model can be wrong in any way
        log.warning("no estimate for %s: %s: %s", name, type(error).__name__, error)
        return Pace(0.0, 0.0, 0.0)


def _pace(name: str, experiment: Experiment, x: torch.Tensor, y: torch.Tensor, on_step: Callable[[str], None]) -> Pace:
    attack = experiment.settings.attack
    model = experiment.model(name, device=x.device)
    optimizer = torch.optim.Adam(model.parameters())
    here = x.device.type == experiment.device.type
    training: Precision = experiment.precision if here else "float32"  # bfloat16 can be very slow on another device
    compute_loss = loss_function(x.device, training)
    tested = in_precision(model, experiment.settings.evaluation.precision if here else "float32")
    bim = BIM(tested, attack.eps, attack.eps * attack.bim_relative_step, ATTACK_STEPS)

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        compute_loss(model, x, y, None, None).backward()
        optimizer.step()

    def test() -> None:
        with torch.no_grad():
            tested(x)

    on_step(f"{name}: training step")
    in_training = _seconds(train, x.device) / len(x)
    model.eval()
    on_step(f"{name}: forward pass")
    in_test = _seconds(test, x.device)
    on_step(f"{name}: attack step")
    in_attack = _seconds(lambda: bim(x, y), x.device)
    return Pace(in_training, in_test / len(x), in_attack / ATTACK_STEPS / len(x))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the median duration of a few calls. The first call, which may compile, is not timed."""
    times = []
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return median(times[1:])
