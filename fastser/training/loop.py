"""Training of one model with Adam and cross-entropy (paper 4.4)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from fastser.augmentation import Augmentation, draw_mixup
from fastser.data.dataset import Subset
from fastser.data.normalisation import Normalisation
from fastser.runtime.cuda_graphs import replayable
from fastser.runtime.nvtx_ranges import stage
from fastser.runtime.random import seeded
from fastser.settings import Settings
from fastser.training.checkpoint import Checkpoint
from fastser.training.class_weights import loss_weights
from fastser.training.loss import LossFunction, loss_function
from fastser.training.precision import training_precision
from fastser.training.schedule import Epoch
from fastser.training.state import TrainingState
from fastser.training.step_graph import StepGraph

Validate = Callable[[nn.Module, Normalisation, Callable[[], None]], float]
"""Returns the validation score of a model, a fraction. Calls its third argument after each batch."""


@dataclass(frozen=True)
class History:
    """A finished training.

    Attributes:
        epochs: All epochs.
        kept_epoch: Number of the epoch whose weights the model has. 0 without epochs.
        seconds: Wall time of all processes that took part.
        normalisation: Normalisation of the training set, which belongs to the model.
    """

    epochs: tuple[Epoch, ...]
    kept_epoch: int
    seconds: float
    normalisation: Normalisation


def train(
    model: nn.Module,
    training: Subset,
    validate: Validate,
    settings: Settings,
    augmentation: Augmentation,
    seed: int,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Train a model in place and leave it with the weights of the epoch that the schedule keeps.

    Batches are gathered on the device from the training set's segment bank. The host waits for the device only at the
    end of an epoch and at a checkpoint. Torch's global random generators are as before when the function returns.

    On a GPU the step of a full batch is captured in a CUDA graph, which is replayed for the other full batches
    (`fastser.training.step_graph`).

    Args:
        model: `[batch, frames, bins] -> [batch, classes]`, on the bank's device.
        training: Training set. It holds the speed-perturbed versions if the augmentation asks for them.
        validate: Computes the score of each epoch, by which the schedule "plateau" sets the learning rate, ends the
            training and chooses the epoch (`fastser.evaluation.inference.validation_score`).
        settings: Training and augmentation settings are used.
        augmentation: Training-set variant.
        seed: Seed of order, dropout and mixup.
        on_epoch: Called after every epoch.
        checkpoint: File from which the training continues and in which its state is kept between two batches. A
            training that is stopped or killed at any moment and continued gives the same bits as an uninterrupted one.

    Returns:
        The history.

    Raises:
        TrainingError: If the loss is not finite.
        TrainingStopped: If the checkpoint was asked to stop the training.
    """
    segments, device = training.segments, training.segments.device
    normalisation = training.normalisation()
    precision = training_precision(settings, device)
    compute_loss = loss_function(device, precision, loss_weights(training, settings.training))
    with seeded(seed, device):
        state = TrainingState(model, len(segments), settings.training, device, seed, precision)
        if checkpoint is not None:
            checkpoint.begin(state)
        at_boundary = _no_checkpoint if checkpoint is None else checkpoint.at_boundary
        step = partial(_step, state, compute_loss)
        graphed = replayable(segments) and precision != "float16"  # a loss scale may skip a step, which a graph cannot
        graph = StepGraph(step, device) if graphed else None
        while not state.over:
            for batch in state.batches():
                with stage("gather batch"):
                    inputs = _inputs(training, batch, normalisation, augmentation, settings, state)
                if graph is not None and len(batch) == settings.training.batch_size:
                    loss = graph(*inputs, learning_rate=state.learning_rate)
                else:
                    loss = step(*inputs)
                state.count(loss, batch)
                at_boundary()
            with stage("validation"):
                score = validate(model, normalisation, at_boundary)
            on_epoch(state.end_epoch(score))
            at_boundary()
        state.end()
    return History(tuple(state.epochs), state.kept_epoch, state.seconds, normalisation)


def _step(
    state: TrainingState,
    compute_loss: LossFunction,
    x: Tensor,
    own: Tensor,
    other: Tensor | None,
    lam: Tensor | None,
) -> Tensor:
    """Update the weights with a batch and return its loss, detached."""
    with stage("forward"):
        loss = compute_loss(state.model, x, own, other, lam)
    state.update(loss)
    return loss.detach()


def _inputs(
    training: Subset,
    batch: Tensor,
    normalisation: Normalisation,
    augmentation: Augmentation,
    settings: Settings,
    state: TrainingState,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return the segments of a batch, their labels and, with mixup, the partners' labels and the segments' weights."""
    bank, segments, labels = training.dataset.bank, training.segments, training.labels
    if not augmentation.mixup:
        return bank.gather(segments[batch], normalisation), labels[batch], None, None
    drawn = settings.augmentation
    partner, lam = draw_mixup(
        len(batch), drawn.mixup_alpha, weights=drawn.mixup_weights, generator=state.generator, device=segments.device
    )
    mate = batch[partner]
    return bank.gather_mixup(segments[batch], segments[mate], lam, normalisation), labels[batch], labels[mate], lam


def _no_checkpoint() -> None:
    """Do nothing between two batches."""
