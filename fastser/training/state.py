"""The state of a training: weights, optimiser, schedule, order of batches, random generators."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from fastser.runtime.errors import UserError
from fastser.runtime.nvtx_ranges import stage
from fastser.runtime.precision import Precision
from fastser.settings import TrainingSettings
from fastser.training.schedule import SCHEDULES, Epoch, Schedule


class TrainingError(UserError, RuntimeError):
    """A training that cannot go on. The message is one sentence."""


class TrainingState:
    """Everything that a training needs to continue as if it had never stopped.

    The schedule's state follows from the scores of the epochs.

    Args:
        model: Model with its initial weights.
        segments: Number of segments in the training set.
        options: Training settings.
        device: Device of the model.
        seed: Seed of order and mixup. Dropout draws from torch's global generator, which the caller seeds.
        precision: Precision of the steps. In float16 the loss is scaled, so that small gradients do not become zero. A
            step whose gradients overflow is left out, and the scale is halved.

    Attributes:
        model: The model. After `end` it has the weights of the kept epoch.
        generator: Random generator of order and mixup.
        epochs: Finished epochs.
    """

    def __init__(
        self,
        model: nn.Module,
        segments: int,
        options: TrainingSettings,
        device: torch.device,
        seed: int,
        precision: Precision = "float32",
    ) -> None:
        self.model = model
        self.generator = torch.Generator(device).manual_seed(seed)
        self.epochs: list[Epoch] = []
        self._optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate, fused=True)
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
        self._schedule: Schedule = SCHEDULES[options.schedule](self._optimizer, options)
        self._options = options
        self._segments = segments
        self._device = device
        self._kept: dict[str, Tensor] = {}
        self._order = torch.empty(0, dtype=torch.int64, device=device)
        self._batches = 0
        self._loss = torch.zeros((), device=device)
        self._began = time.perf_counter()
        self._seconds: float | None = None

    @property
    def kept_epoch(self) -> int:
        """Return the number of the finished epoch whose weights are kept, or 0 before the first one."""
        return self._schedule.kept_epoch(self.epochs)

    @property
    def learning_rate(self) -> float:
        """Return the current learning rate."""
        rate: float = self._optimizer.param_groups[0]["lr"]
        return rate

    @property
    def over(self) -> bool:
        """Return whether the training has ended."""
        return self._schedule.over(self.epochs)

    @property
    def seconds(self) -> float:
        """Return the wall time so far, including the time of earlier processes."""
        return time.perf_counter() - self._began if self._seconds is None else self._seconds

    def batches(self) -> Iterator[Tensor]:
        """Return the remaining batches of the current epoch, int64 [batch] positions in the training set.

        The order is drawn at the beginning of an epoch.
        """
        self.model.train()
        if not len(self._order):
            self._order = torch.randperm(self._segments, generator=self.generator, device=self._device)
            self._loss = torch.zeros((), device=self._device)
        return iter(self._order.split(self._options.batch_size)[self._batches :])

    def update(self, loss: Tensor) -> None:
        """Update the weights with the mean loss of a batch."""
        with stage("backward"):
            self._optimizer.zero_grad(set_to_none=True)
            self._scaler.scale(loss).backward()
        with stage("optimizer"):
            if self._device.type == "cuda":  # outside of a capture, PyTorch warns of the flag that a capture needs
                self._optimizer.param_groups[0]["capturable"] = torch.cuda.is_current_stream_capturing()
            self._scaler.step(self._optimizer)
            self._scaler.update()

    def count(self, loss: Tensor, batch: Tensor) -> None:
        """Add the mean loss of a batch, detached, to that of the epoch."""
        self._loss += loss * len(batch)
        self._batches += 1

    def end_epoch(self, score: float) -> Epoch:
        """Record the epoch, keep its weights if the schedule says so, and set the next learning rate.

        Raises:
            TrainingError: If the loss is not finite.
        """
        number = len(self.epochs) + 1
        loss = float(self._loss) / self._segments
        if not math.isfinite(loss):
            raise TrainingError(f"the training loss is {loss} after epoch {number}")
        improved = all(score > epoch.score for epoch in self.epochs)
        self.epochs.append(Epoch(number, loss, score, self.learning_rate, improved))
        if self.kept_epoch == number:
            self._kept = {name: value.clone() for name, value in self.model.state_dict().items()}
        self._schedule.end_epoch(score)
        self._order, self._batches = self._order[:0], 0
        return self.epochs[-1]

    def end(self) -> None:
        """Load the weights of the kept epoch and stop the clock."""
        self.model.load_state_dict(self._kept)
        self._seconds = self.seconds

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Implement `fastser.training.checkpoint.Resumable`."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"kept.{name}": value for name, value in self._kept.items()}
        for index, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        tensors |= {"order": self._order, "loss": self._loss, "random.generator": self.generator.get_state()}
        tensors["random.cpu"] = torch.get_rng_state()
        if self._device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self._device)
        epochs = [asdict(epoch) for epoch in self.epochs]
        rest = {"epochs": epochs, "batches": self._batches, "seconds": self.seconds}
        return tensors, rest | {"scaler": self._scaler.state_dict()}

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """Implement `fastser.training.checkpoint.Resumable`."""
        shapes = {name: value.shape for name, value in _under("model.", tensors).items()}
        return shapes == {name: value.shape for name, value in self.model.state_dict().items()}

    def restore(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        """Implement `fastser.training.checkpoint.Resumable`."""
        self.model.load_state_dict(_under("model.", tensors))
        self._kept = {name: value.to(self._device) for name, value in _under("kept.", tensors).items()}
        parameters = list(self.model.parameters())
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimizer.", tensors).items():
            index, _, moment = name.partition(".")
            like = parameters[int(index)]
            laid_out = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
            moments.setdefault(int(index), {})[moment] = laid_out
        self._optimizer.load_state_dict(
            {"state": moments, "param_groups": self._optimizer.state_dict()["param_groups"]}
        )
        self.epochs = [Epoch(**epoch) for epoch in rest["epochs"]]
        for epoch in self.epochs:
            self._schedule.end_epoch(epoch.score)
        self._order, self._loss = tensors["order"].to(self._device), tensors["loss"].to(self._device)
        self._batches = rest["batches"]
        self._scaler.load_state_dict(rest["scaler"])
        self._began = time.perf_counter() - rest["seconds"]
        self.generator.set_state(tensors["random.generator"])
        torch.set_rng_state(tensors["random.cpu"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self._device)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with this prefix, under their names without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
