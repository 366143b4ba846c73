"""That each cell of the grid trains and tests on what the protocol says, whatever ran before it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jobs import stand_in_experiment
from torch import Tensor, nn

from fastser.augmentation import draw_mixup
from fastser.data.dataset import Subset
from fastser.data.noise import NoiseBank
from fastser.evaluation.inference import posteriors
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import AUGMENTATIONS, MODELS, GridPoint
from fastser.settings import QUICK, Settings
from fastser.training import loop as training

SETTINGS = QUICK.override(
    ["training.max_epochs=1", "training.batch_size=16", "attack.bim_steps=1", "noise.snr_db=0", "noise.scenes=park"]
)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return stand_in_experiment(tmp_path_factory.mktemp("stand-ins"), SETTINGS, speeds=(0.9, 1.1))


def speakers(subset: Subset) -> set[str]:
    return {subset.dataset.corpus.utterances[i].speaker for i in subset.utterances}


def test_leave_one_speaker_out_tests_the_fold_and_validates_on_the_other_speaker(experiment: Experiment) -> None:
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


def test_every_cell_and_repeat_has_a_seed_of_its_own(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    class StoppedError(Exception):
        pass

    def note(*arguments: object) -> None:
        seeds.append(arguments[5])
        raise StoppedError

    monkeypatch.setattr("fastser.experiment.experiment.train", note)
    cells = [
        GridPoint("source", m, a, f, r)
        for m in MODELS
        for a in AUGMENTATIONS
        for f in ("Ses01F", "Ses03M")
        for r in (1, 2)
    ]
    for cell in cells:
        with pytest.raises(StoppedError):
            experiment.run(cell)
    assert len(set(seeds)) == len(cells)


def test_normalisation_is_that_of_the_training_set(experiment: Experiment) -> None:
    cell = GridPoint("source", "cnn", "speed", "Ses01F", 1)
    _, facts, _ = experiment.run(cell)
    train = experiment.subsets(cell)[0]
    bank = train.dataset.bank
    inside = [
        bank.frames[s : s + n] for s, n in zip(bank.start[train.segments], bank.length[train.segments], strict=True)
    ]
    values = torch.cat(inside).double()
    assert facts["normalisation"]["mean"] == pytest.approx(float(values.mean()), rel=1e-9)
    assert facts["normalisation"]["std"] == pytest.approx(float(values.std(correction=0)), rel=1e-9)


class Bias(nn.Module):
    """Logits that do not depend on the input: the loss of a batch can be worked out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([0.3, -0.2, 0.5, 0.1]))

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.expand(len(x), 4)


def test_mixup_loss_is_cross_entropy_with_mixed_labels(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    train, validation, _ = experiment.subsets(GridPoint("source", "cnn", "mixup", "Ses01F", 1))
    settings = SETTINGS.override(["training.batch_size=1000"])
    drawn: list[tuple[Tensor, Tensor]] = []

    def draw(batch: int, alpha: float, **options: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn.append(draw_mixup(batch, 1.0, **options))  # type: ignore[arg-type]
        return drawn[-1]

    monkeypatch.setattr(training, "draw_mixup", draw)
    model, before = Bias(), Bias()
    history = training.train(model, train, validation, settings, "mixup", 3)
    order = torch.randperm(len(train.segments), generator=torch.Generator().manual_seed(3))
    ((partner, lam),) = drawn
    own = F.one_hot(train.labels[order], 4)
    target = lam[:, None] * own + (1 - lam[:, None]) * own[partner]
    expected = F.cross_entropy(before(torch.empty(len(order))), target)
    assert history.epochs[0].loss == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(expected, before.bias)
    assert torch.equal((model.bias - before.bias).sign(), -gradient.sign())


def test_the_score_of_an_epoch_is_that_of_the_validation_set(experiment: Experiment) -> None:
    train, validation, _ = experiment.subsets(GridPoint("source", "cnn", "none", "Ses01F", 1))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(128 * 64, 4))
    settings = SETTINGS.override(["training.max_epochs=4", "training.learning_rate=0.01"])
    mean, std = train.statistics()

    def check(epoch: training.Epoch) -> None:
        assert epoch.score == validation.result(posteriors(model, validation, mean, std)).accuracy

    assert len(training.train(model, train, validation, settings, "none", 0, check).epochs) == 4


def test_result_does_not_depend_on_what_ran_before(experiment: Experiment) -> None:
    cells = [
        GridPoint("source", "proposed", "speed+mixup", "Ses01F", 1),
        GridPoint("cross", "cnn-lstm", "mixup", "all", 1),
    ]
    forth = {cell: experiment.run(cell) for cell in cells}
    back = {cell: experiment.run(cell) for cell in reversed(cells)}
    for cell in cells:
        for name, result in forth[cell][0].items():
            assert np.array_equal(result.posteriors, back[cell][0][name].posteriors), name
        assert all(torch.equal(value, back[cell][2][name]) for name, value in forth[cell][2].items())


def test_key_follows_noise_target_and_split(experiment: Experiment) -> None:
    source, cross = GridPoint("source", "cnn", "none", "Ses01F", 1), GridPoint("cross", "cnn", "none", "all", 1)

    def keys(changed: Experiment) -> tuple[str, str]:
        return changed.identify(source).key, changed.identify(cross).key

    def with_settings(*changes: str) -> Experiment:
        settings: Settings = SETTINGS.override(changes)
        return replace(experiment, settings=settings)

    here = keys(experiment)
    assert experiment.noise is not None
    assert experiment.target is not None
    other_noise = NoiseBank(replace(experiment.noise.waveforms, key="other"), experiment.noise.scenes, 16_000)
    for only_source in (
        with_settings("noise.snr_db=5"),
        with_settings("noise.scenes=park,kitchen"),
        replace(experiment, noise=None),
        replace(experiment, noise=other_noise),
    ):
        assert keys(only_source)[0] != here[0]
        assert keys(only_source)[1] == here[1]
    for only_cross in (
        with_settings("protocol.cross_corpus_validation=0.4"),
        replace(experiment, target=replace(experiment.target, key="other")),
    ):
        assert keys(only_cross)[0] == here[0]
        assert keys(only_cross)[1] != here[1]
