"""One trained model under every condition, without training again: clean, noise, FGSM, BIM, another corpus."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fastser.attacks import BIM, FGSM
from fastser.data.dataset import Subset, sample_places
from fastser.data.noise import NoiseBank, draw_noise
from fastser.data.segments import FeatureExtractor
from fastser.evaluation.inference import BATCH_SIZE, posteriors, utterance_means
from fastser.evaluation.metrics import ConditionResult
from fastser.experiment.grid import conditions, noise_condition
from fastser.runtime.nvtx_ranges import stage
from fastser.settings import Settings


def evaluate(
    model: nn.Module,
    test: Subset,
    settings: Settings,
    mean: float,
    std: float,
    noise: NoiseBank | None,
    noise_seed: int,
    on_condition: Callable[[str], None] = lambda _: None,
    on_batch: Callable[[], None] = lambda: None,
) -> dict[str, ConditionResult]:
    """Test a model of the source task under all of its conditions.

    Args:
        model: The trained model.
        test: The test speaker's utterances.
        settings: Noise, attack and spectrogram settings are used.
        mean: Normalisation of the training set.
        std: The same.
        noise: Noise recordings, or None to leave the noisy conditions out.
        noise_seed: Seed of the noise draw.
        on_condition: Called with the name of each condition before it is run.
        on_batch: Called after each batch; what it raises ends the evaluation.

    Returns:
        Results by condition, in the order of `fastser.experiment.grid.conditions`.
    """
    on_condition("clean")
    with stage("test clean"):
        results = {"clean": test.result(posteriors(model, test, mean, std, on_batch))}
    if noise is not None:
        results |= noisy(model, test, settings, mean, std, noise, noise_seed, on_condition, on_batch)
    attack = settings.attack
    for name, perturb in (
        ("fgsm", FGSM(model, attack.eps)),
        ("bim", BIM(model, attack.eps, attack.eps * attack.bim_relative_step, attack.bim_steps)),
    ):
        on_condition(name)
        bank = test.dataset.bank
        batches = (
            perturb(bank.gather(part, mean, std), y)
            for part, y in zip(test.segments.split(BATCH_SIZE), test.labels.split(BATCH_SIZE), strict=True)
        )
        with stage(f"test {name}"):
            results[name] = test.result(utterance_means(model, batches, test.rows, on_batch))
    return results


def noisy(
    model: nn.Module,
    test: Subset,
    settings: Settings,
    mean: float,
    std: float,
    noise: NoiseBank,
    seed: int,
    on_condition: Callable[[str], None] = lambda _: None,
    on_batch: Callable[[], None] = lambda: None,
) -> dict[str, ConditionResult]:
    """Test a model with every noise scene at every SNR, mixed on the waveform while its spectrogram is computed.

    The paper's "randomly added" noise takes, for each utterance, the result of the one scene that it drew.

    Returns:
        The drawn conditions ("noise-10db"), then those of one scene each ("noise-park-10db").
    """
    dataset = test.dataset
    device = dataset.bank.frames.device
    utterances = [(i, dataset.corpus.utterances[i].id) for i in test.utterances]
    draw = draw_noise(noise, settings.noise.scenes, dataset.waveforms, utterances, seed)
    first, frames, row = sample_places(test, settings)
    speech_start = (torch.from_numpy(dataset.waveforms.offsets[list(test.utterances)])[row] + first).to(device)
    noise_samples = torch.from_numpy(noise.waveforms.samples).to(device)
    analysis = FeatureExtractor.create(settings.spectrogram, settings.audio.sample_rate, device)
    frames = frames.to(device)
    drawn: dict[str, ConditionResult] = {}
    by_scene: dict[str, ConditionResult] = {}
    for snr in settings.noise.snr_db:
        gains = torch.from_numpy(draw.gain(snr))
        of_scene: list[Tensor] = []
        for number, scene in enumerate(draw.scenes):
            on_condition(noise_condition(snr, scene))
            noise_start = (torch.from_numpy(draw.start[number])[row] + first).to(device)
            gain = gains[number][row].to(device)
            batches = (
                analysis(
                    dataset.samples,
                    speech_start[part],
                    frames[part],
                    mean=mean,
                    std=std,
                    noise=noise_samples,
                    noise_start=noise_start[part],
                    noise_gain=gain[part],
                )
                for part in torch.arange(len(row), device=device).split(BATCH_SIZE)
            )
            with stage(f"test {noise_condition(snr, scene)}"):
                of_scene.append(utterance_means(model, batches, row.to(device), on_batch))
            by_scene[noise_condition(snr, scene)] = test.result(of_scene[-1])
        chosen = torch.stack(of_scene)[
            torch.from_numpy(draw.drawn).to(device), torch.arange(len(utterances), device=device)
        ]
        drawn[noise_condition(snr)] = test.result(chosen)
    results = drawn | by_scene
    return {name: results[name] for name in conditions("source", settings) if name in results}
