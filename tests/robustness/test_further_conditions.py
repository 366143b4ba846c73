"""Conditions that are not in the paper, on models of segments and of waveforms."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import CLASSES, Corpora, WaveformNet, make_spectrogram_net
from small_runs import SMALL

import fastser
from fastser.data import prepare, read_corpus
from fastser.data.normalisation import Normalisation
from fastser.evaluation.changes import CHANGES
from fastser.evaluation.conditions import CONDITIONS, conditions
from fastser.evaluation.further_conditions import FURTHER, Babble, RobustnessSettings, SNRAttacked
from fastser.evaluation.model_error import ModelError
from fastser.evaluation.segment_trial import SegmentTrial
from fastser.robustness.selection import SUITES, select
from fastser.settings import PAPER

FEW = RobustnessSettings(
    pgd_eps=(0.02, 0.08), pgd_steps=2, pgd_restarts=1, attack_snr_db=(30.0,), babble_snr_db=(20.0, 0.0), babble_voices=2
)


@pytest.mark.parametrize("inputs", ["segments", "waveform"])
def test_every_condition_is_tested_on_both_kinds_of_models(corpora: Corpora, inputs: str) -> None:
    torch.manual_seed(1)
    model = make_spectrogram_net() if inputs == "segments" else WaveformNet()
    result = fastser.evaluate(
        model,
        corpora.speech,
        inputs=inputs,
        classes=CLASSES,
        conditions=["all"],
        levels=FEW,
        settings=SMALL,
        speakers=["Ses01F", "Ses02M"],
        progress=False,
    )
    expected = ["clean", "fgsm", "bim", "pgd-0.02", "pgd-0.08", "pgd-l2-30db", "waveform-attack-30db"]
    assert list(result.results) == [*expected, *CHANGES, "babble-20db", "babble-0db"]
    clean = result.results["clean"].posteriors
    right = np.arange(len(clean)), result.results["clean"].labels
    for name, found in result.results.items():
        if name != "clean":
            assert np.isfinite(found.posteriors).all(), name
            assert (found.posteriors != clean).any(), name
        if "pgd" in name or "attack" in name:
            assert found.posteriors[right].mean() < clean[right].mean(), name
    distance = {name: np.abs(found.posteriors - clean).mean() for name, found in result.results.items()}
    assert distance["gain-2db"] > distance["gain-1db"]
    assert distance["babble-0db"] > distance["babble-20db"]


def test_the_grid_tests_none_of_them() -> None:
    own = {condition.name for family in FURTHER.values() for condition in family.expand(RobustnessSettings())}
    for task in ("source", "target", "cross"):
        assert not own & {condition.name for condition in conditions(task, SMALL)}


@pytest.mark.fast
def test_a_family_without_levels_is_refused() -> None:
    without = PAPER.override(["attack.curve_eps=[]"])
    with pytest.raises(
        ModelError, match=r"bim-curve is empty with these settings; docs/conditions\.md names the setting"
    ):
        select(["bim-curve"], without, RobustnessSettings(), num_speakers=2, with_noise=False, differentiable=True)


@pytest.mark.fast
def test_every_family_is_in_a_suite_and_says_where_it_comes_from() -> None:
    for family in FURTHER.values():
        assert set(family.suites) <= set(SUITES)
        assert family.suites
        assert family.source
    assert len([change for change in CHANGES.values() if change.quick]) == 14  # one of each kind
    everything = [condition for family in CONDITIONS.values() for condition in family.expand(SMALL)]
    everything += [condition for family in FURTHER.values() for condition in family.expand(RobustnessSettings())]
    assert not [condition for condition in everything if " at 0x" in repr(condition)], "keys of kept results"


def test_waveform_attacks_stay_at_their_snr_and_change_nothing_else(corpora: Corpora) -> None:
    """Unperturbed excerpts give the usual posteriors of a model of segments."""
    name, _, path = corpora.speech.partition("=")
    dataset = prepare(read_corpus(name, Path(path)), SMALL)
    trial = SegmentTrial(make_spectrogram_net(), dataset.subset(range(4)), SMALL, Normalisation(-30.0, 15.0))
    unchanged = trial.attacked_waveform(lambda _: lambda x, _: x)
    torch.testing.assert_close(unchanged, trial.perturbed(lambda x, _: x), atol=1e-4, rtol=1e-4)
    ratios = []

    def measured(model: torch.nn.Module) -> object:
        from fastser.attacks import PGDL2

        attack = PGDL2(model, 10 ** (-30 / 20), 0.01, 2)

        def run(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            adversarial = attack(x, y)
            ratios.extend(20 * torch.log10(x.norm(dim=1) / (adversarial - x).norm(dim=1)))
            return adversarial

        return run

    trial.attacked_waveform(measured)  # type: ignore[arg-type]
    assert len(ratios) >= 4
    assert all(ratio >= 30 - 1e-3 for ratio in ratios)
    assert SNRAttacked(30.0, 2, True).name == "waveform-attack-30db"


def test_babble_holds_other_speakers_only_at_its_snr(corpora: Corpora, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, path = corpora.speech.partition("=")
    dataset = prepare(read_corpus(name, Path(path)), SMALL)
    own = dataset.corpus.utterances[0].speaker
    only = [i for i, utterance in enumerate(dataset.corpus.utterances) if utterance.speaker == own]
    trial = SegmentTrial(make_spectrogram_net(), dataset.subset(only), SMALL, Normalisation(-30.0, 15.0))
    heard: list[tuple[int, np.ndarray]] = []

    def listen(change: object) -> torch.Tensor:
        for position, index in enumerate(only):
            heard.append((index, change(position, dataset.waveforms[index], np.random.default_rng(position))))  # type: ignore[operator]
        return torch.zeros(len(only), 4)

    monkeypatch.setattr(trial, "changed_by_position", listen)
    Babble(10.0, 2).posteriors(trial)
    for index, samples in heard:
        speech = dataset.waveforms[index].astype(np.float64)
        added = samples - speech
        assert 10 * np.log10(np.mean(speech**2) / np.mean(added**2)) == pytest.approx(10, abs=0.1)
        for other in only:
            voice = np.resize(dataset.waveforms[other].astype(np.float64), len(added))
            assert abs(np.corrcoef(voice, added)[0, 1]) < 0.5
