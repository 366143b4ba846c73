"""Training for a given number of epochs, without a validation set."""

from collections.abc import Callable
from itertools import count

from torch import nn

from fastser.augmentation import Augmentation
from fastser.data.dataset import Subset
from fastser.settings import Settings
from fastser.training.loop import History, train
from fastser.training.schedule import Epoch


def train_for(
    epochs: int,
    model: nn.Module,
    training: Subset,
    settings: Settings,
    augmentation: Augmentation,
    seed: int,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> History:
    """Train a model in place for some epochs, and leave it with its last weights.

    With the schedule "plateau" the learning rate is constant: every epoch counts as better than the one before, so
    nothing halves the rate or ends the training early. With "cosine" it falls to zero over these epochs.

    Args:
        epochs: Number of epochs.
        model: As in `fastser.training.loop.train`.
        training: Training set.
        settings: Training and augmentation settings are used.
        augmentation: Training-set variant.
        seed: Seed of order, dropout and mixup.
        on_epoch: Called after every epoch. Its score is the number of the epoch.

    Returns:
        The history.

    Raises:
        TrainingError: If the loss is not finite.
    """
    fixed = settings.training.model_copy(update={"max_epochs": epochs})
    numbers = count(1)
    return train(
        model,
        training,
        lambda *_: float(next(numbers)),
        settings.model_copy(update={"training": fixed}),
        augmentation,
        seed,
        on_epoch,
    )
