"""Trials of models whose input is standardised by utterance or by speaker, and attacks in the range of the input."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from trials import Pooled, Prepared

from fastser.attacks import ATTACKS
from fastser.data.corpora import CorpusError
from fastser.data.dataset import Subset
from fastser.data.segments import build_bank
from fastser.evaluation.segment_trial import SegmentTrial
from fastser.robustness.attack_checks import RandomSigns
from fastser.settings import Settings

MakeTrial = Callable[..., SegmentTrial]
GROUPS = ["utterance", "speaker"]


def standardised(prepared: Prepared, name: str, hop: int) -> tuple[Settings, Subset]:
    """Return the settings, and the test set with standardised segments."""
    assignments = [f"spectrogram.normalisation={name}", f"spectrogram.segment_hop={hop}"]
    settings, dataset = prepared.settings.override(assignments), prepared.dataset
    speakers = [utterance.speaker for utterance in dataset.corpus.utterances]
    bank = build_bank(dataset.waveforms, settings.spectrogram, settings.audio.sample_rate, speakers=speakers)
    own = sorted({i for i, s in enumerate(speakers) if s == speakers[0]})  # whole speakers, as their moments are
    return settings, replace(dataset, bank=bank).subset(own)


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("hop", [128, 48])
def test_unchanged_waveforms_and_inaudible_noise_give_the_clean_result(
    prepared: Prepared, trial: MakeTrial, name: str, hop: int
) -> None:
    settings, test = standardised(prepared, name, hop)
    tested = trial(settings=settings, test=test, normalisation=test.normalisation())
    clean = tested.perturbed(lambda segments, _: segments)
    torch.testing.assert_close(tested.noisy("park", 150.0), clean, rtol=0, atol=1e-4)
    torch.testing.assert_close(tested.changed(lambda x, _rate, _rng: x), clean, rtol=0, atol=1e-4)
    assert (tested.noisy("park", 0.0) - clean).abs().max() > 1e-2


@pytest.mark.parametrize("name", GROUPS)
def test_a_gain_of_all_recordings_changes_nothing(prepared: Prepared, trial: MakeTrial, name: str) -> None:
    settings, test = standardised(prepared, name, 128)
    tested = trial(settings=settings, test=test, normalisation=test.normalisation())
    clean = tested.perturbed(lambda segments, _: segments)
    louder = tested.changed(lambda x, _rate, _rng: (2 * x).astype(np.float32))
    torch.testing.assert_close(louder, clean, rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", ["training-set", *GROUPS])
def test_an_attack_on_the_waveform_begins_at_the_clean_segments(
    prepared: Prepared, trial: MakeTrial, name: str
) -> None:
    settings, test = standardised(prepared, name, 128)
    tested = trial(settings=settings, test=test, normalisation=test.normalisation())
    clean = tested.perturbed(lambda segments, _: segments)
    unchanged = tested.attacked_waveform(lambda _: lambda waveforms, _labels: waveforms)
    torch.testing.assert_close(unchanged, clean, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["fgsm", "bim"])
def test_an_eps_of_the_range_is_scaled_and_clipped_to_it(
    prepared: Prepared, model: Pooled, trial: MakeTrial, name: str
) -> None:
    settings = prepared.settings.override(["attack.eps_unit=range", "attack.eps=0.05", "attack.bim_steps=30"])
    tested = trial(settings=settings)
    bank, segments = prepared.test.dataset.bank, prepared.test.segments
    clean = bank.gather(segments, prepared.normalisation)
    low, high = tested.input_range
    assert (low, high) == (clean.min().item(), clean.max().item())
    adversarial = ATTACKS[name].build(model, settings.attack, tested.input_range)(clean, prepared.test.labels)
    assert (adversarial - clean).abs().max().item() == pytest.approx(0.05 * (high - low), rel=1e-4)
    assert low <= adversarial.min()
    assert adversarial.max() <= high


@pytest.mark.parametrize("unit", ["deviation", "range"])
def test_random_signs_are_of_the_size_of_fgsm(prepared: Prepared, trial: MakeTrial, unit: str) -> None:
    tested = trial(settings=prepared.settings.override([f"attack.eps_unit={unit}", "attack.eps=0.05"]))
    clean = prepared.test.dataset.bank.gather(prepared.test.segments, prepared.normalisation)
    seen: list[Tensor] = []
    tested.perturbed = lambda perturb: seen.append(perturb(clean, prepared.test.labels)) or Tensor()
    RandomSigns().posteriors(tested)
    fgsm = ATTACKS["fgsm"].build(tested.model, tested.settings.attack, tested.attack_bounds)
    for adversarial in (seen[0], fgsm(clean, prepared.test.labels)):
        reach = 0.05 if unit == "deviation" else 0.05 * (clean.max() - clean.min()).item()
        assert (adversarial - clean).abs().max().item() == pytest.approx(reach, rel=1e-4)
        assert unit == "deviation" or (clean.min() <= adversarial.min() and adversarial.max() <= clean.max())


def test_moments_by_speaker_need_all_utterances_of_a_tested_speaker(prepared: Prepared, trial: MakeTrial) -> None:
    settings, test = standardised(prepared, "speaker", 128)
    some = test.dataset.subset(test.utterances[1:])
    tested = trial(settings=settings, test=some, normalisation=test.normalisation())
    tested.perturbed(lambda segments, _: segments)
    with pytest.raises(CorpusError, match=r"needs all utterances of a tested speaker.*1 of"):
        tested.noisy("park", 0.0)
