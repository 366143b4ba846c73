"""Trials of models of whole utterances: no padding, and the same noise and attacks as for models of segments."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from trials import Pooled, Prepared

from fastser.attacks import FGSM
from fastser.data.features import FeatureExtractor
from fastser.evaluation import utterance_trial
from fastser.evaluation.conditions import SceneNoise, conditions, evaluate
from fastser.evaluation.further_conditions import SNRAttacked
from fastser.evaluation.segment_trial import SegmentTrial
from fastser.evaluation.utterance_trial import UtteranceTrial
from fastser.settings import TrainingSettings
from fastser.training.yardsticks import YARDSTICKS

MakeTrial = Callable[..., UtteranceTrial]


@pytest.fixture
def make(prepared: Prepared) -> MakeTrial:
    """Make a trial of a yardstick fitted to all utterances but the tested ones. Keyword arguments replace fields."""
    rest = prepared.dataset.subset(range(len(prepared.test.utterances), len(prepared.dataset.corpus.utterances)))

    def trial(yardstick: str = "linear", **fields: Any) -> UtteranceTrial:
        usual: dict[str, Any] = {
            "model": YARDSTICKS[yardstick].fit(rest, prepared.normalisation, TrainingSettings()),
            "test": prepared.test,
            "settings": prepared.settings,
            "normalisation": prepared.normalisation,
            "noise": prepared.noise,
            "noise_seed": 5,
        }
        return UtteranceTrial(**usual | fields)

    return trial


def unchanged(segments: Tensor, _labels: Tensor) -> Tensor:
    return segments


def true_class(trial: UtteranceTrial, posteriors: Tensor) -> float:
    """Return the mean posterior of the true class."""
    labels = trial.test.dataset.labels[list(trial.test.utterances)]
    return float(posteriors.gather(1, labels[:, None]).mean())


def test_the_model_gets_one_whole_utterance_at_a_time(make: MakeTrial, prepared: Prepared, model: Pooled) -> None:
    settings, shapes = prepared.settings.spectrogram, []
    expected = []
    for index in prepared.test.utterances:
        samples = torch.from_numpy(prepared.dataset.waveforms[index].copy())
        frames = 1 + (len(samples) - settings.win_length) // settings.hop_length
        extract = FeatureExtractor.create(settings.model_copy(update={"segment_frames": frames}), 16_000)
        x = extract(samples, torch.tensor([0]), torch.tensor([frames]), normalisation=prepared.normalisation)
        expected.append(model(x).softmax(1).detach())
        shapes.append((1, frames, settings.num_bins))
    seen = []

    def note(x: Tensor, _labels: Tensor) -> Tensor:
        seen.append(tuple(x.shape))
        return x

    batches: list[int] = []
    trial = make(model=model, on_batch=lambda: batches.append(len(seen)))
    torch.testing.assert_close(trial.perturbed(note), torch.cat(expected), atol=1e-5, rtol=0)
    assert seen == shapes
    assert batches == [*range(1, len(shapes) + 1)]


def test_vanishing_noise_and_changes_that_change_nothing_leave_clean_results(make: MakeTrial) -> None:
    trial = make()
    clean = trial.perturbed(unchanged)
    for other in (
        trial.noisy("park", 200.0),
        trial.changed_by_position(lambda _, samples, generator: samples),
        trial.attacked(lambda model: unchanged),
        trial.attacked_waveform(lambda model: unchanged),
    ):
        torch.testing.assert_close(other, clean, atol=1e-4, rtol=0)


@pytest.mark.parametrize("frames_per_block", [1024, 16])
def test_noise_is_that_of_the_draw_that_models_of_segments_get(
    make: MakeTrial, prepared: Prepared, frames_per_block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make()
    others = SegmentTrial(
        trial.model, prepared.test, prepared.settings, prepared.normalisation, noise=prepared.noise, noise_seed=5
    )
    draw, samples = others.noise_draw, prepared.noise.waveforms.samples

    def with_noise(position: int, speech: NDArray[np.float32], _: np.random.Generator) -> NDArray[np.float32]:
        start = draw.start[1, position]
        return speech + draw.gain(0.0)[1, position] * samples[start : start + len(speech)]

    expected = trial.changed_by_position(with_noise)
    monkeypatch.setattr(utterance_trial, "_FRAMES_PER_BLOCK", frames_per_block)
    found = make().noisy(draw.scenes[1], 0.0)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert (found - trial.perturbed(unchanged)).abs().max() > 0.01


def test_attacks_lower_the_linear_yardstick_and_leave_the_majority_alone(make: MakeTrial) -> None:
    linear, majority = make(), make("majority")
    for build in (lambda model: FGSM(model, 0.2), lambda model: FGSM(model, 0.5)):
        clean, attacked = (true_class(linear, p) for p in (linear.perturbed(unchanged), linear.attacked(build)))
        assert attacked < clean - 0.05
        assert torch.equal(majority.attacked(build), majority.perturbed(unchanged))
    on_waveform = linear.posteriors(SNRAttacked(10.0, steps=3, on_waveform=True))
    assert true_class(linear, on_waveform) < true_class(linear, linear.perturbed(unchanged)) - 0.05


def test_majority_has_the_uar_of_chance_under_every_condition(make: MakeTrial, prepared: Prepared) -> None:
    results = evaluate(make("majority"), conditions("source", prepared.settings))
    assert {result.uar for result in results.values()} == {0.25}
    assert SceneNoise("park", 0.0).name in results


def test_a_trial_in_bfloat16_gives_about_the_same_posteriors(make: MakeTrial, prepared: Prepared) -> None:
    rounded = make(settings=prepared.settings.override(["evaluation.precision=bfloat16"])).perturbed(unchanged)
    exact = make().perturbed(unchanged)
    torch.testing.assert_close(rounded, exact, atol=0.05, rtol=0)
    assert not torch.equal(rounded, exact)
