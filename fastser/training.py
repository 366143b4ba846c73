"""One training: Adam, cross-entropy, halve the rate after 5 and stop after 20 epochs without progress (paper 4.4)."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fastser.augmentation import draw_mixup
from fastser.datasets import Subset
from fastser.inference import posteriors
from fastser.settings import Settings
from fastser.tracing import stage
from fastser.training_step import loss_function


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
    """A finished training: its epochs, the best one, its wall time, and the normalisation that belongs to the model."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    seconds: float
    mean: float
    std: float


def train(
    model: nn.Module,
    training: Subset,
    validation: Subset,
    settings: Settings,
    augmentation: str,
    seed: int,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> History:
    """Train a model in place and leave it with the weights of its best epoch.

    Batches are gathered on the device from the training corpus' bank; nothing in the loop waits for the device except
    the end of an epoch.

    Args:
        model: `[batch, frames, bins] -> [batch, classes]`, on the bank's device.
        training: Segments to train on.
        validation: Segments that decide rate, stop and best epoch; may lie in another bank.
        settings: Training and augmentation settings are used.
        augmentation: One of `fastser.protocol.AUGMENTATIONS`; `training` already holds the speeds it asks for.
        seed: Seed of order, dropout and mixup.
        on_epoch: Called after every epoch.

    Returns:
        The history.

    Raises:
        TrainingError: If the loss is not finite.
    """
    options = settings.training
    bank, segments, labels = training.dataset.bank, training.segments, training.labels
    device = segments.device
    torch.manual_seed(seed)
    generator = torch.Generator(device).manual_seed(seed)
    mean, std = training.statistics()
    mixes = "mixup" in augmentation
    on_gpu = device.type == "cuda"
    optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate, foreach=not on_gpu, fused=on_gpu)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=options.halve_after - 1, threshold=0.0
    )
    compute_loss = loss_function(device)

    def draw(batch: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Segments, their labels and, with mixup, their partners' labels and the weights of the first."""
        if not mixes:
            return bank.gather(segments[batch], mean, std), labels[batch], None, None
        partner, lam = draw_mixup(len(batch), settings.augmentation.mixup_alpha, generator=generator, device=device)
        mate = batch[partner]
        mixed = bank.gather_mixup(segments[batch], segments[mate], lam, mean, std)
        return mixed, labels[batch], labels[mate], lam

    best: dict[str, Tensor] = {}
    best_score, best_epoch = -1.0, 0
    epochs: list[Epoch] = []
    began = time.perf_counter()
    for number in range(1, options.max_epochs + 1):
        model.train()
        order = torch.randperm(len(segments), generator=generator, device=device)
        total = torch.zeros((), device=device)
        for batch in order.split(options.batch_size):
            with stage("gather batch"):
                x, own, other, lam = draw(batch)
            with stage("forward"):
                loss = compute_loss(model, x, own, other, lam)
            with stage("backward"):
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
            with stage("optimizer"):
                optimizer.step()
            total += loss.detach() * len(batch)
        with stage("validation"):
            result = validation.result(posteriors(model, validation, mean, std))
        score = result.accuracy if options.monitor == "accuracy" else result.uar
        mean_loss = float(total) / len(segments)
        if not math.isfinite(mean_loss):
            raise TrainingError(f"the training loss is {mean_loss} after epoch {number}")
        improved = score > best_score
        if improved:
            best_score, best_epoch = score, number
            best = {name: value.clone() for name, value in model.state_dict().items()}
        epochs.append(Epoch(number, mean_loss, score, optimizer.param_groups[0]["lr"], improved))
        on_epoch(epochs[-1])
        schedule.step(score)
        if number - best_epoch >= options.stop_after:
            break
    model.load_state_dict(best)
    return History(tuple(epochs), best_epoch, time.perf_counter() - began, mean, std)
