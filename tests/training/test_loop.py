"""One training and one evaluation, on a few stand-in utterances and a very small model."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from fastser.evaluation.evaluate import evaluate
from torch import Tensor, nn

from fastser.data.corpora import read_corpus, read_noise
from fastser.data.corpora.synthetic import generate
from fastser.data.dataset import Dataset, Subset, prepare, prepare_noise
from fastser.data.noise import NoiseBank, draw_noise, snr_gain
from fastser.data.segments import FeatureExtractor
from fastser.evaluation.inference import posteriors
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import AUGMENTATIONS, GridPoint, conditions
from fastser.settings import QUICK, Settings
from fastser.training.loop import TrainingError, train


@pytest.fixture(scope="module")
def settings() -> Settings:
    return QUICK.override(["training.max_epochs=3", "training.batch_size=8", "attack.bim_steps=3"])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> tuple[Dataset, NoiseBank]:
    folder = tmp_path_factory.mktemp("stand-ins")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTSER_CACHE", str(folder / "cache"))
        stand_ins = generate(folder, utterances_per_class=1)
        dataset = prepare(read_corpus("iemocap", stand_ins.iemocap), settings, speeds=(0.9, 1.1))
        return dataset, prepare_noise(read_noise("demand", stand_ins.demand), settings)


class Pooled(nn.Module):
    """Mean over time, then one linear layer: learns in a moment, and has dropout so that seeds matter."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Dropout(0.1), nn.Linear(QUICK.spectrogram.num_bins, 4))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.mean(1))
        return out


def fresh() -> nn.Module:
    torch.manual_seed(7)
    return Pooled()


def first_fold(dataset: Dataset, settings: Settings) -> Callable[[str], tuple[Subset, Subset, Subset]]:
    experiment = Experiment(settings, 0, dataset, None, None, torch.device("cpu"))
    return lambda augmentation: experiment.subsets(GridPoint("source", "cnn", augmentation, "Ses01F", 1))


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_same_seed_same_bits(data: tuple[Dataset, NoiseBank], settings: Settings, augmentation: str) -> None:
    training, validation, _ = first_fold(data[0], settings)(augmentation)
    models = [fresh() for _ in range(3)]
    histories = [
        train(model, training, validation, settings, augmentation, seed)
        for model, seed in zip(models, (1, 1, 2), strict=True)
    ]
    states = [model.state_dict() for model in models]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])
    assert [e.loss for e in histories[0].epochs] == [e.loss for e in histories[1].epochs]


def test_speed_triples_the_training_set_and_nothing_else(data: tuple[Dataset, NoiseBank], settings: Settings) -> None:
    plain, speed = first_fold(data[0], settings)("none"), first_fold(data[0], settings)("speed+mixup")
    recordings = [len(set(data[0].bank.recording[subset.segments].tolist())) for subset in (plain[0], speed[0])]
    assert recordings[1] == 3 * recordings[0] == 3 * len(plain[0].utterances)
    assert torch.equal(plain[1].segments, speed[1].segments)
    assert torch.equal(plain[2].segments, speed[2].segments)


def test_rate_is_halved_and_training_stops_as_the_paper_says(
    data: tuple[Dataset, NoiseBank], settings: Settings
) -> None:
    """A model that cannot learn: halved after the 5th, 10th ... epoch without improvement, stopped after the 20th."""
    training, validation, _ = first_fold(data[0], settings)("none")
    settings = settings.override(["training.max_epochs=100", "training.halve_after=5", "training.stop_after=20"])

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.tensor([9.0, 0.0, 0.0, 0.0]))

        def forward(self, x: Tensor) -> Tensor:
            return self.bias.expand(len(x), 4)

    history = train(Constant(), training, validation, settings, "none", 0)
    rates = [epoch.learning_rate for epoch in history.epochs]
    assert history.best_epoch == 1
    assert len(rates) == 21
    assert rates == [1e-3] * 6 + [5e-4] * 5 + [2.5e-4] * 5 + [1.25e-4] * 5


def test_best_epoch_is_kept(data: tuple[Dataset, NoiseBank], settings: Settings) -> None:
    training, validation, _ = first_fold(data[0], settings)("none")
    snapshots: list[dict[str, Tensor]] = []
    model = fresh()

    def keep(_: object) -> None:
        snapshots.append({name: value.clone() for name, value in model.state_dict().items()})

    history = train(model, training, validation, settings, "none", 0, keep)
    scores = [epoch.score for epoch in history.epochs]
    assert history.best_epoch == 1 + scores.index(max(scores))
    best = snapshots[history.best_epoch - 1]
    assert all(torch.equal(best[name], value) for name, value in model.state_dict().items())


def test_a_loss_that_is_not_finite_ends_the_training(data: tuple[Dataset, NoiseBank], settings: Settings) -> None:
    training, validation, _ = first_fold(data[0], settings)("none")
    model = fresh()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="training loss is nan after epoch 1"):
        train(model, training, validation, settings, "none", 0)


def test_utterance_posterior_is_the_mean_over_its_segments(data: tuple[Dataset, NoiseBank], settings: Settings) -> None:
    dataset = data[0]
    test = dataset.subset(range(len(dataset.corpus.utterances)))
    model = fresh().eval()
    got = posteriors(model, test, -30.0, 15.0)
    assert max(np.bincount(test.rows)) > 1
    for row, utterance in enumerate(test.utterances):
        x = dataset.bank.gather(dataset.bank.segments([utterance]), -30.0, 15.0)
        with torch.no_grad():
            torch.testing.assert_close(got[row], model(x).softmax(1).mean(0))


def test_every_condition_without_training_again(data: tuple[Dataset, NoiseBank], settings: Settings) -> None:
    dataset, noise = data
    *_, test = first_fold(dataset, settings)("none")
    model = fresh()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    results = evaluate(model, test, settings, -30.0, 15.0, noise, 5)
    assert tuple(results) == conditions("source", settings)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    ids = [dataset.corpus.utterances[i].id for i in test.utterances]
    assert all(result.utterance_ids == ids for result in results.values())
    truth = results["clean"].labels
    own = [results[name].posteriors[np.arange(len(ids)), truth] for name in ("clean", "fgsm", "bim")]
    assert (own[1] < own[0]).all()
    assert (own[2] < own[0]).all()
    drawn, by_scene = (
        results["noise-0db"].posteriors,
        [results[f"noise-{scene}-0db"].posteriors for scene in settings.noise.scenes],
    )
    assert all(any(np.array_equal(row, scene[i]) for scene in by_scene) for i, row in enumerate(drawn))
    assert list(evaluate(model, test, settings, -30.0, 15.0, None, 5)) == ["clean", "fgsm", "bim"]


def test_a_test_can_be_left_after_every_batch(
    data: tuple[Dataset, NoiseBank], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, noise = data
    for module in ("inference", "evaluation"):
        monkeypatch.setattr(f"fastser.{module}.BATCH_SIZE", 16)
    test = dataset.subset(range(len(dataset.corpus.utterances)))
    batches = len(test.segments.split(16))
    assert batches > 1
    begun: list[str] = []
    after: list[str] = []

    def evaluated(last: int) -> None:
        begun.clear()
        after.clear()

        def on_batch() -> None:
            after.append(begun[-1])
            if len(after) == last:
                raise KeyboardInterrupt

        evaluate(fresh(), test, settings, -30.0, 15.0, noise, 5, begun.append, on_batch)

    evaluated(-1)
    ran = [name for name in conditions("source", settings) if name == "clean" or not re.fullmatch(r"noise-\d+db", name)]
    assert sorted(after) == sorted(ran * batches)
    for last in (1, batches + 1, len(after)):
        with pytest.raises(KeyboardInterrupt):
            evaluated(last)
        assert len(after) == last


def test_noise_is_mixed_on_the_waveform_at_the_snr(data: tuple[Dataset, NoiseBank], settings: Settings) -> None:
    """The fused path equals mixing each utterance by hand and computing its spectrogram."""
    dataset, noise = data
    *_, test = first_fold(dataset, settings)("none")
    model = fresh().eval()
    names = [(i, dataset.corpus.utterances[i].id) for i in test.utterances]
    draw = draw_noise(noise, settings.noise.scenes, dataset.waveforms, names, 5)
    park = settings.noise.scenes.index("park")
    got = evaluate(model, test, settings, -30.0, 15.0, noise, 5)["noise-park-10db"].posteriors
    analysis = FeatureExtractor.create(settings.spectrogram, settings.audio.sample_rate)
    for row, utterance in enumerate(test.utterances):
        speech = dataset.waveforms[utterance]
        start = draw.start[park, row]
        excerpt = noise.waveforms.samples[start : start + len(speech)]
        gain = snr_gain(speech, excerpt, 10.0)
        level = np.mean(speech.astype(np.float64) ** 2) / np.mean((gain * excerpt.astype(np.float64)) ** 2)
        assert 10 * np.log10(level) == pytest.approx(10.0, abs=1e-4)
        mixed = torch.from_numpy(speech + np.float32(gain) * excerpt)
        count = 1 + (len(speech) - 400) // 160
        first = torch.arange(0, count, settings.spectrogram.segment_frames)
        frames = (count - first).clamp(max=settings.spectrogram.segment_frames)
        x = analysis(mixed, first * 160, frames, mean=-30.0, std=15.0)
        with torch.no_grad():
            expected = model(x).softmax(1).mean(0).numpy()
        np.testing.assert_allclose(got[row], expected, atol=2e-5)


def test_key_follows_what_the_result_depends_on(data: tuple[Dataset, NoiseBank], settings: Settings) -> None:
    dataset, noise = data
    cell = GridPoint("source", "cnn", "none", "Ses01F", 1)

    def key(settings: Settings, *, seed: int = 0, dataset: Dataset = dataset, cell: GridPoint = cell) -> str:
        return Experiment(settings, seed, dataset, None, noise, torch.device("cpu")).identify(cell).key

    assert key(settings) == key(settings)
    assert key(settings) == key(settings.override(["protocol.repeats=9", "protocol.folds=5"]))
    others = [
        key(settings, seed=1),
        key(settings.override(["training.batch_size=9"])),
        key(settings.override(["attack.eps=0.1"])),
        key(settings.override(["spectrogram.kind=linear"])),
        key(settings, cell=replace(cell, repeat=2)),
        key(settings, cell=replace(cell, model="proposed")),
        key(settings, dataset=replace(dataset, key="another corpus")),
    ]
    assert len({key(settings), *others}) == 8
