"""The runs of an experiment: data of each part, seeds, normalisation, random generators."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fastser_kernels import reference_kernels_active
from fastser_kernels.native.library import native
from small_runs import SMALL, stand_in_experiment
from torch import Tensor, nn

from fastser.augmentation import AUGMENTATIONS, draw_mixup
from fastser.data.dataset import Subset
from fastser.evaluation.inference import posteriors, result_of, validation_score
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.experiment.kernel_choice import KernelChoice
from fastser.models import MODELS
from fastser.runtime.provenance import environment
from fastser.training import loop
from fastser.training.schedule import Epoch


@pytest.fixture(scope="module")
def experiment(stand_ins: Path) -> Experiment:
    return stand_in_experiment(stand_ins, SMALL, speeds=(0.9, 1.1))


def speakers(subset: Subset) -> set[str]:
    return {subset.dataset.corpus.utterances[i].speaker for i in subset.utterances}


@pytest.mark.fast
def test_a_fold_is_tested_on_one_speaker_and_validated_on_the_other_one_of_the_session(experiment: Experiment) -> None:
    train, validation, test = experiment.subsets(GridPoint("source", "cnn", "none", "Ses03M", 1))
    assert speakers(test) == {"Ses03M"}
    assert speakers(validation) == {"Ses03F"}
    assert speakers(train) == set(experiment.source.corpus.speakers) - {"Ses03M", "Ses03F"}  # type: ignore[union-attr]
    assert {id(part.dataset) for part in (train, validation, test)} == {id(experiment.source)}
    _, validation, test = experiment.subsets(GridPoint("target", "cnn", "none", "F01", 1))
    assert (speakers(validation), speakers(test)) == ({"M01"}, {"F01"})
    assert test.dataset is experiment.target


def test_only_training_holds_speed_copies(experiment: Experiment) -> None:
    plain, fast = (experiment.subsets(GridPoint("source", "cnn", name, "Ses01F", 1)) for name in ("mixup", "speed"))
    assert [part.all_speeds for part in fast] == [True, False, False]
    assert len(fast[0].segments) > 2.5 * len(plain[0].segments)
    assert set(fast[0].utterances) == set(plain[0].utterances)


def test_cross_corpus_trains_on_all_of_the_source_and_divides_the_target(experiment: Experiment) -> None:
    train, validation, test = experiment.subsets(GridPoint("cross", "cnn", "none", "all", 1))
    assert train.dataset is experiment.source
    assert len(train.utterances) == len(experiment.source.corpus.utterances)  # type: ignore[union-attr]
    assert validation.dataset is test.dataset is experiment.target
    assert sorted(validation.utterances + test.utterances) == list(range(len(test.dataset.corpus.utterances)))
    assert len(validation.utterances) / len(test.dataset.corpus.utterances) == pytest.approx(0.3, abs=0.05)
    same = [experiment.subsets(GridPoint("cross", m, a, "all", 1))[2].utterances for m in MODELS for a in AUGMENTATIONS]
    assert set(same) == {test.utterances}
    assert experiment.subsets(GridPoint("cross", "cnn", "none", "all", 2))[2].utterances != test.utterances


def test_every_point_of_the_grid_has_a_seed_of_its_own(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    class StoppedError(Exception):
        pass

    def note(*arguments: object) -> None:
        seeds.append(arguments[5])
        raise StoppedError

    monkeypatch.setattr("fastser.experiment.experiment.train", note)
    points = [
        GridPoint("source", model, augmentation, fold, repeat)
        for model in MODELS
        for augmentation in AUGMENTATIONS
        for fold in ("Ses01F", "Ses03M")
        for repeat in (1, 2)
    ]
    for point in points:
        with pytest.raises(StoppedError):
            experiment.run(point)
    assert len(set(seeds)) == len(points)


def test_the_normalisation_is_that_of_the_training_set(experiment: Experiment) -> None:
    point = GridPoint("source", "cnn", "speed", "Ses01F", 1)
    trained = experiment.run(point)
    train = experiment.subsets(point)[0]
    bank = train.dataset.bank
    inside = [
        bank.frames[s : s + n] for s, n in zip(bank.start[train.segments], bank.length[train.segments], strict=True)
    ]
    values = torch.cat(inside).double()
    assert trained.normalisation.mean == pytest.approx(float(values.mean()), rel=1e-9)
    assert trained.normalisation.std == pytest.approx(float(values.std(correction=0)), rel=1e-9)
    assert trained.metadata["normalisation"] == {"mean": trained.normalisation.mean, "std": trained.normalisation.std}


@pytest.mark.parametrize("task", ["source", "cross"])
def test_a_yardstick_is_tested_as_a_network_and_has_no_epochs(experiment: Experiment, task: str) -> None:
    fold, begun = {"source": "Ses01F", "cross": "all"}[task], list[str]()
    state = torch.get_rng_state()
    fitted = experiment.run(GridPoint(task, "linear", "none", fold, 1), on_condition=begun.append)
    assert torch.equal(torch.get_rng_state(), state)
    network = experiment.run(GridPoint(task, "cnn", "none", fold, 1))
    assert fitted.results.keys() == network.results.keys()
    for name, result in fitted.results.items():
        assert result.utterance_ids == network.results[name].utterance_ids
        assert np.array_equal(result.labels, network.results[name].labels)
    assert fitted.metadata.keys() == network.metadata.keys()
    assert (fitted.metadata["epochs"], fitted.metadata["kept_epoch"]) == ([], 0)
    assert fitted.metadata["seeds"]["noise"] == network.metadata["seeds"]["noise"]
    assert fitted.normalisation == network.normalisation
    assert begun[0] == {"source": "clean", "cross": "cross-corpus"}[task]
    assert fitted.results[begun[0]].uar > 0.5  # chance is 0.25


class Bias(nn.Module):
    """Model whose logits do not depend on the input, so that the loss of a batch can be computed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([0.3, -0.2, 0.5, 0.1]))

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.expand(len(x), 4)


def test_the_loss_of_mixup_is_cross_entropy_with_mixed_labels(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, validation, _ = experiment.subsets(GridPoint("source", "cnn", "mixup", "Ses01F", 1))
    settings = SMALL.override(["training.batch_size=1000"])
    drawn: list[tuple[Tensor, Tensor]] = []

    def draw(batch: int, alpha: float, **options: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn.append(draw_mixup(batch, 1.0, **options))  # type: ignore[arg-type]
        return drawn[-1]

    monkeypatch.setattr(loop, "draw_mixup", draw)
    model, before = Bias(), Bias()
    validate = validation_score(validation, "accuracy")
    history = loop.train(model, train, validate, settings, AUGMENTATIONS["mixup"], 3)
    order = torch.randperm(len(train.segments), generator=torch.Generator().manual_seed(3))
    ((partner, lam),) = drawn
    own = F.one_hot(train.labels[order], 4)
    target = lam[:, None] * own + (1 - lam[:, None]) * own[partner]
    expected = F.cross_entropy(before(torch.empty(len(order))), target)
    assert history.epochs[0].loss == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(expected, before.bias)
    assert torch.equal((model.bias - before.bias).sign(), -gradient.sign())


@pytest.mark.parametrize("metric", ["accuracy", "uar"])
def test_the_score_of_an_epoch_is_that_of_the_validation_set(experiment: Experiment, metric: str) -> None:
    train, validation, _ = experiment.subsets(GridPoint("source", "cnn", "none", "Ses01F", 1))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64 * 32, 4))
    settings = SMALL.override(["training.max_epochs=4", "training.learning_rate=0.01"])
    normalisation, scores = train.normalisation(), []

    def check(epoch: Epoch) -> None:
        found = result_of(validation, posteriors(model, validation, normalisation))
        assert epoch.score == (found.accuracy if metric == "accuracy" else found.uar)
        scores.append(epoch.score)

    validate = validation_score(validation, metric)
    loop.train(model, train, validate, settings, AUGMENTATIONS["none"], 0, check)
    assert len(scores) == 4


def test_a_result_does_not_depend_on_the_runs_before_it(experiment: Experiment) -> None:
    points = [
        GridPoint("source", "proposed", "speed+mixup", "Ses01F", 1),
        GridPoint("cross", "cnn-lstm", "mixup", "all", 1),
    ]
    forth = {point: experiment.run(point) for point in points}
    back = {point: experiment.run(point) for point in reversed(points)}
    for point in points:
        for name, result in forth[point].results.items():
            assert np.array_equal(result.posteriors, back[point].results[name].posteriors), name
        assert all(torch.equal(value, back[point].weights[name]) for name, value in forth[point].weights.items())


@pytest.mark.fast
@pytest.mark.parametrize("augmentation", ["speed", "speed+mixup"])
@pytest.mark.parametrize("speeds", [(), (0.9,), (1.1, 0.9)])
def test_speed_augmentation_of_a_source_without_the_speeds_is_refused(
    stand_ins: Path, augmentation: str, speeds: tuple[float, ...]
) -> None:
    experiment = stand_in_experiment(stand_ins, SMALL, speeds=speeds)
    for task, fold in (("source", "Ses01F"), ("cross", "all")):
        with pytest.raises(ValueError, match=rf"IEMOCAP.*: augmentation '{re.escape(augmentation)}' needs the speeds"):
            experiment.run(GridPoint(task, "cnn", augmentation, fold, 1))
    assert not experiment.subsets(GridPoint("source", "cnn", "mixup", "Ses01F", 1))[0].all_speeds


def test_a_run_leaves_torch_s_random_generator_as_it_was(experiment: Experiment) -> None:
    train, validation, _ = experiment.subsets(GridPoint("target", "cnn", "mixup", "F01", 1))
    model = experiment.model("cnn")
    torch.manual_seed(11)
    before = torch.get_rng_state()
    loop.train(model, train, validation_score(validation, "uar"), SMALL, AUGMENTATIONS["mixup"], 5)
    assert torch.equal(torch.get_rng_state(), before)
    experiment.run(GridPoint("target", "cnn", "mixup", "F01", 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_results_carry_their_classes_and_the_kernels_that_computed_them(experiment: Experiment) -> None:
    point = GridPoint("target", "cnn", "none", "F01", 1)
    fused = experiment.run(point)
    reference = replace(experiment, kernel_choice=KernelChoice("reference")).run(point)
    assert fused.metadata["classes"] == reference.metadata["classes"] == ["angry", "happy", "neutral", "sad"]
    assert fused.metadata["environment"]["kernels"] == environment("cpu")["kernels"]
    assert fused.metadata["environment"]["kernels"].startswith("auto: fused") == (native().library is not None)
    assert reference.metadata["environment"]["kernels"].startswith("reference")
    assert not reference_kernels_active()
