"""Conditions: names, tests of a trained model, noise on the waveform, work of each condition."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor
from trials import Pooled, Prepared

from fastser.attacks import ATTACKS, NamedAttack
from fastser.data.features import FeatureExtractor
from fastser.data.noise import draw_noise, snr_gain
from fastser.evaluation.condition import Condition
from fastser.evaluation.conditions import (
    CONDITIONS,
    Attacked,
    ConditionFamily,
    DrawnNoise,
    SceneNoise,
    Unperturbed,
    conditions,
    evaluate,
    headline_names,
)
from fastser.evaluation.trial import Trial
from fastser.settings import PAPER, QUICK, SettingsError

MakeTrial = Callable[..., Trial]

_BIM = Attacked(ATTACKS["bim"])


@pytest.mark.fast
def test_conditions_of_each_task() -> None:
    settings = PAPER.override(["noise.scenes=park,kitchen", "noise.snr_db=0,10"])
    assert [condition.name for condition in conditions("source", settings)] == [
        "clean",
        "noise-0db",
        "noise-10db",
        "noise-park-0db",
        "noise-park-10db",
        "noise-kitchen-0db",
        "noise-kitchen-10db",
        "fgsm",
        "bim",
        "bim-0.02",
        "bim-0.04",
        "bim-0.08",
    ]
    without_noise = [condition.name for condition in conditions("source", settings, with_noise=False)]
    assert without_noise == ["clean", "fgsm", "bim", "bim-0.02", "bim-0.04", "bim-0.08"]
    assert [condition.name for condition in conditions("target", settings)] == ["clean"]
    assert [condition.name for condition in conditions("cross", settings)] == ["cross-corpus"]


def test_titles_and_levels_of_conditions() -> None:
    drawn, scene = DrawnNoise(("park",), -2.5), SceneNoise("park", 10.0)
    assert (drawn.name, drawn.title, drawn.level) == ("noise--2.5db", "-2.5 dB", -2.5)
    assert (scene.name, scene.title, scene.level) == ("noise-park-10db", "park, 10 dB", 10.0)
    attacked = Attacked(ATTACKS["bim"])
    assert (attacked.name, attacked.title, attacked.level) == ("bim", "BIM", None)
    assert (Unperturbed().name, Unperturbed().title, Unperturbed().level) == ("clean", "", None)


def test_results_of_single_scenes_are_no_headline() -> None:
    settings = PAPER.override(["noise.scenes=park", "noise.snr_db=0,10"])
    expected = {"clean", "noise-0db", "noise-10db", "fgsm", "bim", "cross-corpus"}
    assert headline_names(settings) == expected
    quiet = ConditionFamily("quiet", lambda _: [Unperturbed("quiet")], headline=False)
    loud = ConditionFamily("loud", lambda _: [Unperturbed("loud")], tasks=("cross",))
    with CONDITIONS.including(quiet, loud):
        assert headline_names(settings) == expected | {"loud"}


def test_every_condition_without_training_again(prepared: Prepared, model: Pooled, trial: MakeTrial) -> None:
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    tested = conditions("source", prepared.settings)
    results = evaluate(trial(), tested)
    assert list(results) == [condition.name for condition in tested]
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    ids = [prepared.dataset.corpus.utterances[i].id for i in prepared.test.utterances]
    assert all(result.utterance_ids == ids for result in results.values())
    truth = results["clean"].labels
    own = [results[name].posteriors[np.arange(len(ids)), truth] for name in ("clean", "fgsm", "bim")]
    assert (own[1] < own[0]).all()
    assert (own[2] < own[0]).all()
    without_noise = conditions("source", prepared.settings, with_noise=False)
    curve = [f"bim-{eps}" for eps in (0.02, 0.04, 0.08)]
    assert list(evaluate(trial(noise=None), without_noise)) == ["clean", "fgsm", "bim", *curve]


def test_a_curve_over_eps_has_the_attack_of_the_tables_as_one_of_its_points(
    prepared: Prepared, model: Pooled, trial: MakeTrial
) -> None:
    settings = prepared.settings.override(["attack.curve_eps=0.3,0.001", "attack.eps=0.1", "attack.bim_steps=3"])
    curve = CONDITIONS["bim-curve"].expand(settings)
    assert [(point.name, point.title, point.level) for point in curve] == [
        ("bim-0.001", "eps 0.001", -0.001),
        ("bim-0.1", "eps 0.1", -0.1),
        ("bim-0.3", "eps 0.3", -0.3),
    ]
    tested = trial(settings=settings)
    results = evaluate(tested, [*curve, Attacked(ATTACKS["bim"])])
    alone = evaluate(trial(settings=settings.override(["attack.curve_eps=[]", "attack.eps=0.3"])), [_BIM])["bim"]
    assert np.array_equal(results["bim-0.3"].posteriors, alone.posteriors)
    assert np.array_equal(results["bim-0.1"].posteriors, results["bim"].posteriors)
    own = [results[point.name].posteriors[np.arange(len(alone.labels)), alone.labels] for point in curve]
    assert (own[2] < own[1]).all()
    assert (own[1] < own[0]).all()


@pytest.mark.fast
def test_a_curve_has_distinct_eps_or_none() -> None:
    assert CONDITIONS["bim-curve"].expand(PAPER.override(["attack.curve_eps=[]"])) == []
    with pytest.raises(SettingsError, match=r"attack: curve_eps has 0\.02 more than once"):
        PAPER.override(["attack.curve_eps=0.02,0.02"])
    with pytest.raises(SettingsError, match=r"curve_eps has 0\.01234567; give at most six digits"):
        PAPER.override(["attack.curve_eps=0.01234567"])


@pytest.mark.fast
def test_an_eps_of_the_tables_that_is_on_the_curve_is_one_point() -> None:
    curve = CONDITIONS["bim-curve"].expand(QUICK.override(["attack.eps=0.02"]))
    assert [(point.name, point.is_computed) for point in curve] == [("bim-0.02", False), ("bim-0.04", True)]


def test_a_noise_condition_without_noise_recordings_is_refused(trial: MakeTrial) -> None:
    with pytest.raises(ValueError, match="noise recordings"):
        evaluate(trial(noise=None), [SceneNoise("park", 0.0)])


def test_drawn_noise_takes_for_each_utterance_the_result_of_its_drawn_scene(
    prepared: Prepared, trial: MakeTrial
) -> None:
    settings = prepared.settings
    results = evaluate(trial(), conditions("source", settings))
    utterances = [(i, prepared.dataset.corpus.utterances[i].id) for i in prepared.test.utterances]
    draw = draw_noise(prepared.noise, settings.noise.scenes, prepared.dataset.waveforms, utterances, seed=5)
    assert set(draw.drawn) == {0, 1, 2}
    for snr in ("0db", "10db", "20db"):
        by_scene = [results[f"noise-{scene}-{snr}"].posteriors for scene in settings.noise.scenes]
        for row, scene in enumerate(draw.drawn):
            same = [np.array_equal(results[f"noise-{snr}"].posteriors[row], of_scene[row]) for of_scene in by_scene]
            assert same == [index == scene for index in range(3)]


@pytest.mark.parametrize("first", ["drawn", "single"])
def test_each_condition_is_computed_once(prepared: Prepared, model: Pooled, trial: MakeTrial, first: str) -> None:
    begun: list[str] = []
    drawn = DrawnNoise(prepared.settings.noise.scenes, 10.0)
    single = [SceneNoise(scene, 10.0) for scene in prepared.settings.noise.scenes]
    order = [drawn, *single] if first == "drawn" else [*single, drawn]
    tested = trial(on_condition=begun.append)
    evaluate(tested, [*order, *order, Unperturbed(), Unperturbed()])
    assert begun == [*(scene.name for scene in single), "clean"]
    segments = sum(size for size, _ in model.batches)
    assert segments == (len(single) + 1) * len(prepared.test.segments)
    assert tested.posteriors(drawn) is tested.posteriors(drawn)


@pytest.mark.parametrize(
    ("task", "with_noise"), [("source", True), ("source", False), ("target", True), ("cross", True)]
)
def test_the_cost_of_conditions_is_the_work_that_they_do(
    prepared: Prepared, model: Pooled, trial: MakeTrial, task: str, with_noise: bool
) -> None:
    tested = conditions(task, prepared.settings, with_noise=with_noise)
    evaluate(trial(), tested)
    done: Counter[bool] = Counter()
    for size, has_gradient in model.batches:
        done[has_gradient] += size
    costs = [condition.cost(prepared.settings) for condition in tested]
    segments = len(prepared.test.segments)
    assert done[False] == segments * sum(cost.forward_passes for cost in costs)
    assert done[True] == segments * sum(cost.attack_steps for cost in costs)
    assert done[False] > 0
    assert (done[True] > 0) == (task == "source")


def test_a_test_can_be_left_after_every_batch(
    prepared: Prepared, trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("inference", "recordings", "segment_trial"):
        monkeypatch.setattr(f"fastser.evaluation.{module}.BATCH_SIZE", 4)
    batches = len(prepared.test.segments.split(4))
    assert batches > 1
    tested = conditions("source", prepared.settings)
    begun: list[str] = []
    after: list[str] = []

    def evaluated(last: int) -> None:
        begun.clear()
        after.clear()

        def on_batch() -> None:
            after.append(begun[-1])
            if len(after) == last:
                raise KeyboardInterrupt

        evaluate(trial(on_condition=begun.append, on_batch=on_batch), tested)

    evaluated(-1)
    computed = [condition.name for condition in tested if condition.is_computed]
    assert sorted(after) == sorted(computed * batches)
    for last in (1, batches + 1, len(after)):
        with pytest.raises(KeyboardInterrupt):
            evaluated(last)
        assert len(after) == last


def test_noise_is_mixed_on_the_waveform_at_the_snr(prepared: Prepared, model: Pooled, trial: MakeTrial) -> None:
    """The fused path equals mixing each utterance by hand and computing its spectrogram."""
    dataset, noise, settings = prepared.dataset, prepared.noise, prepared.settings
    names = [(i, dataset.corpus.utterances[i].id) for i in prepared.test.utterances]
    draw = draw_noise(noise, settings.noise.scenes, dataset.waveforms, names, 5)
    park = settings.noise.scenes.index("park")
    got = evaluate(trial(), [SceneNoise("park", 10.0)])["noise-park-10db"].posteriors
    extract = FeatureExtractor.create(settings.spectrogram, settings.audio.sample_rate)
    for row, utterance in enumerate(prepared.test.utterances):
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
        x = extract(mixed, first * 160, frames, normalisation=prepared.normalisation)
        with torch.no_grad():
            expected = model(x).softmax(1).mean(0).numpy()
        np.testing.assert_allclose(got[row], expected, atol=2e-5)


@dataclass(frozen=True)
class Louder(Condition):
    """Segments raised by a number of decibels."""

    decibels: float

    @property
    def name(self) -> str:
        return f"louder-{self.decibels:g}db"

    def posteriors(self, trial: Trial) -> Tensor:
        return trial.perturbed(lambda segments, _: segments + self.decibels / trial.normalisation.std)


def test_a_registered_family_and_a_registered_attack_are_tested(prepared: Prepared, trial: MakeTrial) -> None:
    flat = NamedAttack("flat", "Flat", lambda _model, _settings, _range: lambda x, _y: torch.zeros_like(x), lambda _: 2)
    family = ConditionFamily("louder", lambda _: [Louder(0.0), Louder(6.0)], tasks=("target", "source"))
    with CONDITIONS.including(family), ATTACKS.including(flat):
        tested = conditions("source", prepared.settings, with_noise=False)
        results = evaluate(trial(), tested)
        assert [condition.name for condition in conditions("target", prepared.settings)][1:] == list(results)[-2:]
    curve = [f"bim-{eps}" for eps in (0.02, 0.04, 0.08)]
    assert list(results) == ["clean", "fgsm", "bim", "flat", *curve, "louder-0db", "louder-6db"]
    assert np.array_equal(results["louder-0db"].posteriors, results["clean"].posteriors)
    assert not np.allclose(results["louder-6db"].posteriors, results["clean"].posteriors)
    assert np.ptp(results["flat"].posteriors, axis=0).max() < 1e-6
    assert next(condition for condition in tested if condition.name == "flat").cost(prepared.settings).attack_steps == 2
