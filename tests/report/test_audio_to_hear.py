"""Audio of a report: inverse transform, noise and attacks of the tests, what is left out."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small_runs import SMALL, SilentListener, stand_in_experiment

from fastser.data.features import FeatureExtractor
from fastser.experiment.executors.runner import Runner
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.experiment.store import ResultStore
from fastser.experiment.stored_runs import Run
from fastser.report.audio import listen
from fastser.report.audio.inverse import with_gains
from fastser.settings import SpectrogramSettings

SPEECH = np.random.default_rng(0).standard_normal(1600).astype(np.float32)
LINEAR = SpectrogramSettings(n_fft=400, num_bins=201)
FRAMES = 1 + (len(SPEECH) - 400) // 160


@pytest.mark.fast
@pytest.mark.parametrize("settings", [LINEAR, SpectrogramSettings(kind="log-mel", num_bins=32)])
def test_no_gain_gives_the_original(settings: SpectrogramSettings) -> None:
    extract = FeatureExtractor.create(settings, 16_000)
    silent_change = np.zeros((FRAMES, settings.num_bins), np.float32)
    np.testing.assert_allclose(with_gains(SPEECH, silent_change, extract), SPEECH, atol=1e-6)


@pytest.mark.fast
def test_gains_agree_with_torch_istft() -> None:
    extract = FeatureExtractor.create(LINEAR, 16_000)
    gains = np.random.default_rng(1).normal(0, 6, (FRAMES, 201)).astype(np.float32)
    sizes = {"n_fft": 400, "hop_length": 160, "window": extract.window.double(), "center": False}
    covered = (FRAMES - 1) * 160 + 400
    speech = torch.from_numpy(SPEECH[:covered]).double()
    spectrum = torch.stft(speech, return_complex=True, **sizes)  # type: ignore[arg-type]
    changed = torch.istft(spectrum * 10 ** (torch.from_numpy(gains).double().T / 20), **sizes)  # type: ignore[arg-type]
    np.testing.assert_allclose(with_gains(SPEECH, gains, extract)[:covered], changed.numpy(), atol=1e-6)
    np.testing.assert_array_equal(with_gains(SPEECH, gains, extract)[covered:], SPEECH[covered:])


@pytest.mark.fast
def test_mel_bands_act_on_the_frequencies_below_them() -> None:
    extract = FeatureExtractor.create(SpectrogramSettings(kind="log-mel", num_bins=32), 16_000)
    time = np.arange(1600) / 16_000
    low, high = np.sin(2 * np.pi * 250 * time), np.sin(2 * np.pi * 6000 * time)
    gains = np.zeros((FRAMES, 32), np.float32)
    gains[:, 16:] = -60.0
    kept = with_gains((low + high).astype(np.float32), gains, extract)[400:1200]
    assert np.abs(kept - low[400:1200]).max() < 0.02


@pytest.fixture(scope="module")
def heard(stand_ins: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Run, ResultStore]:
    """An experiment with a finished run on the source corpus whose weights are kept."""
    experiment, store = stand_in_experiment(stand_ins, SMALL), ResultStore(tmp_path_factory.mktemp("heard"))
    fold = next(iter(experiment.folds("source")))
    outcome = Runner(experiment, store, keep_models=True).run(
        GridPoint("source", "cnn", "none", fold, 1), SilentListener()
    )
    assert outcome is not None
    assert outcome.failure is None
    return experiment, store.load(outcome.run_id.key), store


def test_clips_are_those_of_the_tests(heard: tuple[Experiment, Run, ResultStore]) -> None:
    experiment, run, store = heard
    listening = listen(experiment, [run], store)
    titles = [clip.title for clip in listening.clips]
    assert titles[:2] == ["clean", "noise, 0 dB SNR (park)"]
    assert [title.partition(",")[0] for title in titles[2:]] == ["after FGSM", "after BIM"]
    assert listening.notes == []
    waves = [soundfile.read(io.BytesIO(clip.flac)) for clip in listening.clips]
    assert {rate for _, rate in waves} == {16_000}
    clean, noisy, fgsm, _ = (wave for wave, _ in waves)
    assert max(np.abs(wave).max() for wave, _ in waves) == pytest.approx(0.9, abs=1e-3)
    assert 0 < len(clean) <= 4 * 16_000
    noise = noisy - clean
    whole = len(clean) < 4 * 16_000
    assert not whole or 20 * np.log10(np.std(clean) / np.std(noise)) == pytest.approx(0, abs=0.2)
    limit = SMALL.attack.eps * run.metadata["normalisation"]["std"]
    assert f"changed by up to {limit:.1f} dB" in titles[2]
    assert 0 < np.abs(fgsm - clean).max() < 0.9
    recorded = store.posteriors(run.id.key)["fgsm"]
    assert listening.clips[2].answer.partition(",")[0] in {run.classes[n] for n in recorded.posteriors.argmax(axis=1)}


def test_what_is_left_out_is_said(heard: tuple[Experiment, Run, ResultStore], tmp_path: Path) -> None:
    experiment, run, store = heard
    assert "--no-audio" in listen(experiment, [run], store, wanted=False).notes[0]
    assert listen(experiment, [], store).clips == ()
    assert experiment.source is not None
    licensed = replace(experiment.source, corpus=replace(experiment.source.corpus, synthetic=False))
    refused = listen(replace(experiment, source=licensed), [run], store)
    assert refused.clips == ()
    assert "licence of" in refused.notes[0]
    elsewhere = ResultStore(tmp_path)
    elsewhere.save(run.id, store.posteriors(run.id.key), run.metadata)
    silent = listen(replace(experiment, noise=None), [run], elsewhere)
    assert [clip.title for clip in silent.clips] == ["clean"]
    assert any("--keep-models" in note for note in silent.notes)
    assert any("no noise corpus" in note for note in silent.notes)
    elsewhere.weights(run.id.key).parent.mkdir()
    elsewhere.weights(run.id.key).write_bytes(b"damaged")
    damaged = listen(experiment, [run], elsewhere)
    assert sum("is left out" in note for note in damaged.notes) == 2
    assert len(damaged.clips) == 2
