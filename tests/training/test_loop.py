"""Training of a very small model on a few stand-in utterances."""

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import stand_in_experiment
from torch import Tensor, nn

from fastser.augmentation import AUGMENTATIONS, Augmentation
from fastser.data.dataset import Dataset, Subset
from fastser.data.normalisation import Normalisation
from fastser.data.segments import SegmentBank
from fastser.evaluation.inference import validation_score
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.settings import QUICK
from fastser.training import loop
from fastser.training.loop import History, train
from fastser.training.state import TrainingError, TrainingState

SETTINGS = QUICK.override(["training.max_epochs=3", "training.batch_size=8"])
COSINE = SETTINGS.override(["training.schedule=cosine", "training.max_epochs=5", "training.stop_after=1"])


@pytest.fixture(scope="module")
def dataset(stand_ins: Path) -> Dataset:
    return stand_in_experiment(stand_ins, SETTINGS, speeds=(0.9, 1.1)).dataset("source")


class Pooled(nn.Module):
    """Mean over time and one linear layer: quick to train, with dropout so that seeds matter."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Dropout(0.1), nn.Linear(QUICK.spectrogram.num_bins, 4))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.mean(1))
        return out


def fresh() -> nn.Module:
    torch.manual_seed(7)
    return Pooled()


def first_fold(dataset: Dataset, augmentation: str = "none") -> tuple[Subset, Subset, Subset]:
    experiment = Experiment(SETTINGS, 0, dataset, None, None, torch.device("cpu"))
    return experiment.subsets(GridPoint("source", "cnn", augmentation, "Ses01F", 1))


def train_on(dataset: Dataset, model: nn.Module, augmentation: str = "none", **options: Any) -> History:
    """Train on the first fold, with the accuracy on its validation speaker as score."""
    training, validation, _ = first_fold(dataset, augmentation)
    given = {"settings": SETTINGS, "seed": 0, "validate": validation_score(validation, "accuracy")} | options
    return train(model, training, augmentation=AUGMENTATIONS[augmentation], **given)


@pytest.mark.fast
@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_same_seed_same_bits(dataset: Dataset, augmentation: str) -> None:
    models = [fresh() for _ in range(3)]
    histories = [
        train_on(dataset, model, augmentation, seed=seed) for model, seed in zip(models, (1, 1, 2), strict=True)
    ]
    states = [model.state_dict() for model in models]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])
    assert [e.loss for e in histories[0].epochs] == [e.loss for e in histories[1].epochs]


def test_only_full_batches_are_steps_of_a_graph(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last batch of an epoch is smaller."""
    in_graph: list[tuple[int, float]] = []

    class Steps:
        def __init__(self, step: Any, device: torch.device) -> None:
            self._step = step

        def __call__(self, *inputs: Tensor, learning_rate: float) -> Tensor:
            in_graph.append((len(inputs[0]), learning_rate))
            loss: Tensor = self._step(*inputs)
            return loss

    expected = train_on(dataset, fresh())
    monkeypatch.setattr(loop, "replayable", lambda _: True)
    monkeypatch.setattr(loop, "StepGraph", Steps)
    history = train_on(dataset, fresh())
    full, rest = divmod(len(first_fold(dataset)[0].segments), SETTINGS.training.batch_size)
    assert rest
    assert in_graph == [(SETTINGS.training.batch_size, 1e-3)] * full * len(history.epochs)
    assert history.epochs == expected.epochs


def test_speed_triples_the_training_set_and_nothing_else(dataset: Dataset) -> None:
    plain, speed = first_fold(dataset), first_fold(dataset, "speed+mixup")
    recordings = [len(set(dataset.bank.recording[subset.segments].tolist())) for subset in (plain[0], speed[0])]
    assert recordings[1] == 3 * recordings[0] == 3 * len(plain[0].utterances)
    assert torch.equal(plain[1].segments, speed[1].segments)
    assert torch.equal(plain[2].segments, speed[2].segments)


def test_the_history_has_the_normalisation_of_the_training_set(dataset: Dataset) -> None:
    for augmentation in ("none", "speed"):
        seen: list[Normalisation] = []

        def validate(_: nn.Module, normalisation: Normalisation, on_batch: object, seen: Any = seen) -> float:
            seen.append(normalisation)
            return 0.5

        history = train_on(dataset, fresh(), augmentation, validate=validate)
        expected = first_fold(dataset, augmentation)[0].normalisation()
        assert set(seen) == {history.normalisation} == {expected}


def test_only_an_augmentation_with_mixup_mixes(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """An augmentation under any name is what its fields say."""
    mixed: list[int] = []
    gather_mixup = SegmentBank.gather_mixup

    def counted(bank: SegmentBank, segments: Tensor, *rest: Any) -> Tensor:
        mixed.append(len(segments))
        return gather_mixup(bank, segments, *rest)

    monkeypatch.setattr(SegmentBank, "gather_mixup", counted)
    with AUGMENTATIONS.including(Augmentation("stirred", mixup=True), Augmentation("no mixup")):
        train_on(dataset, fresh(), "no mixup")
        assert mixed == []
        history = train_on(dataset, fresh(), "stirred")
    assert sum(mixed) == len(history.epochs) * len(first_fold(dataset)[0].segments)


def test_rate_is_halved_and_training_stops_as_the_paper_says(dataset: Dataset) -> None:
    """Without improvement, the rate is halved after the 5th, 10th ... epoch, and training stops after the 20th."""
    settings = SETTINGS.override(["training.max_epochs=100", "training.halve_after=5", "training.stop_after=20"])
    history = train_on(dataset, fresh(), settings=settings, validate=lambda *_: 0.25)
    rates = [epoch.learning_rate for epoch in history.epochs]
    assert history.kept_epoch == 1
    assert len(rates) == 21
    assert rates == [1e-3] * 6 + [5e-4] * 5 + [2.5e-4] * 5 + [1.25e-4] * 5


def test_the_weights_of_the_kept_epoch_are_kept(dataset: Dataset) -> None:
    scores = [0.3, 0.6, 0.4]
    given = iter(scores)
    snapshots: list[dict[str, Tensor]] = []
    model = fresh()

    def keep(_: object) -> None:
        snapshots.append({name: value.clone() for name, value in model.state_dict().items()})

    history = train_on(dataset, model, validate=lambda *_: next(given), on_epoch=keep)
    assert [epoch.score for epoch in history.epochs] == scores
    assert history.kept_epoch == 2
    for name, value in model.state_dict().items():
        assert torch.equal(value, snapshots[1][name])
        assert not torch.equal(value, snapshots[2][name])


def test_a_loss_that_is_not_finite_ends_the_training(dataset: Dataset) -> None:
    model = fresh()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="loss is nan after epoch 1"):
        train_on(dataset, model)


def test_a_training_in_float16_scales_its_loss(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    enabled: list[bool] = []

    class Spy(torch.amp.GradScaler):
        def __init__(self, device: str, **options: bool) -> None:
            super().__init__(device, **options)
            enabled.append(options["enabled"])

    monkeypatch.setattr(torch.amp, "GradScaler", Spy)
    histories = [
        train_on(dataset, fresh(), settings=SETTINGS.override([f"training.precision={precision}"]))
        for precision in ("float16", "float32")
    ]
    assert enabled == [True, False]
    half, single = ([epoch.loss for epoch in history.epochs] for history in histories)
    assert half != single
    assert half == pytest.approx(single, rel=0.01)


def test_the_global_random_generator_is_as_before(dataset: Dataset) -> None:
    model = fresh()
    before = torch.get_rng_state()
    train_on(dataset, model)
    assert torch.equal(before, torch.get_rng_state())


def test_the_rate_falls_along_a_cosine_as_in_torch(dataset: Dataset) -> None:
    rates = [epoch.learning_rate for epoch in train_on(dataset, fresh(), settings=COSINE).epochs]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=COSINE.training.learning_rate)
    oracle, expected = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5), []
    for _ in range(5):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        oracle.step()
    assert rates == pytest.approx(expected, rel=1e-12)


def test_cosine_ignores_the_validation_scores_and_keeps_the_last_epoch(dataset: Dataset) -> None:
    last: dict[str, Tensor] = {}
    model = fresh()

    def keep(_: object) -> None:
        last.update({name: value.clone() for name, value in model.state_dict().items()})

    scores = iter([0.9, 0.1, 0.1, 0.5, 0.2])
    history = train_on(dataset, model, settings=COSINE, validate=lambda *_: next(scores), on_epoch=keep)
    assert (len(history.epochs), history.kept_epoch) == (5, 5)
    assert all(torch.equal(value, last[name]) for name, value in model.state_dict().items())


def test_a_restored_state_continues_the_cosine() -> None:
    def state() -> TrainingState:
        return TrainingState(fresh(), 4, COSINE.training, torch.device("cpu"), seed=0)

    begun, continued = state(), state()
    begun.end_epoch(0.5)
    begun.end_epoch(0.4)
    continued.restore(*begun.state())
    assert continued.learning_rate == begun.learning_rate < COSINE.training.learning_rate
    assert continued.kept_epoch == 2
