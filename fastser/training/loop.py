"""One training: Adam, cross-entropy, halve the rate after 5 and stop after 20 epochs without progress (paper 4.4)."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fastser.augmentation import draw_mixup
from fastser.data.dataset import Subset
from fastser.evaluation.inference import posteriors
from fastser.runtime.nvtx_ranges import stage
from fastser.settings import Settings, TrainingSettings
from fastser.training.checkpoint import Checkpoint
from fastser.training.loss import loss_function


class TrainingError(RuntimeError):
    """A training that cannot go on, in one sentence."""


@dataclass(frozen=True)
class Epoch:
    """What is known after one epoch: mean training loss, the monitored validation score (0 to 1), learning rate."""

    number: int
    loss: float
    score: float
    learning_rate: float
    improved: bool


@dataclass(frozen=True)
class History:
    """A finished training: its epochs, the best one, its wall time, and the normalisation that belongs to the model.

    The time is that of all processes that took part in it.
    """

    epochs: tuple[Epoch, ...]
    best_epoch: int
    seconds: float
    mean: float
    std: float


class TrainingState:
    """Where a training is, with all that it takes to go on from there as if it had never stopped.

    The schedule and the best epoch follow from the scores of the epochs.

    Args:
        model: In its initial state.
        segments: Number of segments in the training set.
        options: Training settings.
        seed: Seed of order, dropout and mixup.

    Attributes:
        model: The model; after `end` with the weights of its best epoch.
        generator: Draws order and mixup; dropout takes the device's default generator.
        epochs: Those that are done.
    """

    def __init__(
        self, model: nn.Module, segments: int, options: TrainingSettings, device: torch.device, seed: int
    ) -> None:
        torch.manual_seed(seed)
        on_gpu = device.type == "cuda"
        self.model = model
        self.generator = torch.Generator(device).manual_seed(seed)
        self.epochs: list[Epoch] = []
        self._optimizer = torch.optim.Adam(
            model.parameters(), lr=options.learning_rate, foreach=not on_gpu, fused=on_gpu
        )
        self._schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self._optimizer, mode="max", factor=0.5, patience=options.halve_after - 1, threshold=0.0
        )
        self._options = options
        self._segments = segments
        self._device = device
        self._best: dict[str, Tensor] = {}
        self._order = torch.empty(0, dtype=torch.int64, device=device)
        self._batches = 0
        self._loss = torch.zeros((), device=device)
        self._began = time.perf_counter()
        self._seconds: float | None = None

    @property
    def best_epoch(self) -> int:
        """Number of the epoch with the best score, the first of them; 0 before the first epoch."""
        return next((epoch.number for epoch in reversed(self.epochs) if epoch.improved), 0)

    @property
    def over(self) -> bool:
        """Whether the epoch limit is reached, or the score has not improved for as long as the settings allow."""
        done = len(self.epochs)
        return done >= self._options.max_epochs or done - self.best_epoch >= self._options.stop_after

    @property
    def seconds(self) -> float:
        """Wall time so far, that of earlier processes included."""
        return time.perf_counter() - self._began if self._seconds is None else self._seconds

    def batches(self) -> Iterator[Tensor]:
        """The batches that are left of the current epoch, int64 [batch] places in the training set.

        Where an epoch begins, its order is drawn.
        """
        self.model.train()
        if not len(self._order):
            self._order = torch.randperm(self._segments, generator=self.generator, device=self._device)
            self._loss = torch.zeros((), device=self._device)
        return iter(self._order.split(self._options.batch_size)[self._batches :])

    def step(self, loss: Tensor, batch: Tensor) -> None:
        """Change the weights by the mean loss of a batch."""
        with stage("backward"):
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
        with stage("optimizer"):
            self._optimizer.step()
        self._loss += loss.detach() * len(batch)
        self._batches += 1

    def end_epoch(self, score: float) -> Epoch:
        """Note what the epoch has brought, keep the weights if they are the best, and set the next epoch's rate.

        Raises:
            TrainingError: If the loss is not finite.
        """
        number = len(self.epochs) + 1
        loss = float(self._loss) / self._segments
        if not math.isfinite(loss):
            raise TrainingError(f"the training loss is {loss} after epoch {number}")
        improved = all(score > epoch.score for epoch in self.epochs)
        if improved:
            self._best = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.epochs.append(Epoch(number, loss, score, self._optimizer.param_groups[0]["lr"], improved))
        self._schedule.step(score)
        self._order, self._batches = self._order[:0], 0
        return self.epochs[-1]

    def end(self) -> None:
        """Take the weights of the best epoch, and stop the clock."""
        self.model.load_state_dict(self._best)
        self._seconds = self.seconds

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `fastser.training.checkpoint.Resumable`."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self._best.items()}
        for index, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        tensors |= {"order": self._order, "loss": self._loss, "random.generator": self.generator.get_state()}
        tensors["random.cpu"] = torch.get_rng_state()
        if self._device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self._device)
        epochs = [asdict(epoch) for epoch in self.epochs]
        return tensors, {"epochs": epochs, "batches": self._batches, "seconds": self.seconds}

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """See `fastser.training.checkpoint.Resumable`."""
        shapes = {name: value.shape for name, value in _under("model.", tensors).items()}
        return shapes == {name: value.shape for name, value in self.model.state_dict().items()}

    def restore(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        """See `fastser.training.checkpoint.Resumable`."""
        self.model.load_state_dict(_under("model.", tensors))
        self._best = {name: value.to(self._device) for name, value in _under("best.", tensors).items()}
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
            self._schedule.step(epoch.score)
        self._order, self._loss = tensors["order"].to(self._device), tensors["loss"].to(self._device)
        self._batches = rest["batches"]
        self._began = time.perf_counter() - rest["seconds"]
        self.generator.set_state(tensors["random.generator"])
        torch.set_rng_state(tensors["random.cpu"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self._device)


def train(
    model: nn.Module,
    training: Subset,
    validation: Subset,
    settings: Settings,
    augmentation: str,
    seed: int,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Train a model in place and leave it with the weights of its best epoch.

    Batches are gathered on the device from the training corpus' bank; nothing in the loop waits for the device except
    the end of an epoch and a checkpoint.

    Args:
        model: `[batch, frames, bins] -> [batch, classes]`, on the bank's device.
        training: Segments to train on.
        validation: Segments that decide rate, stop and best epoch; may lie in another bank.
        settings: TrainingSettings and augmentation settings are used.
        augmentation: One of `fastser.experiment.grid.AUGMENTATIONS`; `training` already holds the speeds it asks for.
        seed: Seed of order, dropout and mixup.
        on_epoch: Called after every epoch.
        checkpoint: Where the training goes on from, and is kept and stopped between two batches. A training that was
            stopped or killed anywhere and continued gives the same bits as one that was not.

    Returns:
        The history.

    Raises:
        TrainingError: If the loss is not finite.
        TrainingStopped: If the checkpoint was asked to stop it.
    """
    bank, segments, labels = training.dataset.bank, training.segments, training.labels
    device = segments.device
    mean, std = training.statistics()
    mixes = "mixup" in augmentation
    compute_loss = loss_function(device)
    state = TrainingState(model, len(segments), settings.training, device, seed)
    if checkpoint is not None:
        checkpoint.begin(state)
    at_boundary = _go_on if checkpoint is None else checkpoint.at_boundary

    def draw(batch: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Segments, their labels and, with mixup, their partners' labels and the weights of the first."""
        if not mixes:
            return bank.gather(segments[batch], mean, std), labels[batch], None, None
        partner, lam = draw_mixup(
            len(batch), settings.augmentation.mixup_alpha, generator=state.generator, device=device
        )
        mate = batch[partner]
        mixed = bank.gather_mixup(segments[batch], segments[mate], lam, mean, std)
        return mixed, labels[batch], labels[mate], lam

    while not state.over:
        for batch in state.batches():
            with stage("gather batch"):
                x, own, other, lam = draw(batch)
            with stage("forward"):
                loss = compute_loss(model, x, own, other, lam)
            state.step(loss, batch)
            at_boundary()
        with stage("validation"):
            result = validation.result(posteriors(model, validation, mean, std, at_boundary))
        on_epoch(state.end_epoch(result.accuracy if settings.training.monitor == "accuracy" else result.uar))
        at_boundary()
    state.end()
    return History(tuple(state.epochs), state.best_epoch, state.seconds, mean, std)


def _go_on() -> None:
    pass


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
