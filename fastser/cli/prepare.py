"""Preparation: corpora become an experiment, decoded or mapped from the cache, and checked."""

from collections.abc import Sequence

import torch
from rich.console import Console

from fastser.augmentation import AUGMENTATIONS
from fastser.cli.console import say
from fastser.cli.file_counter import file_counter
from fastser.cli.options import CliOptions, GridOptions
from fastser.cli.steps import steps
from fastser.data.corpora import Corpus, NoiseCorpus
from fastser.data.dataset import Dataset, prepare, prepare_noise, recordings_of_scenes
from fastser.data.noise import NoiseBank
from fastser.experiment.experiment import Experiment
from fastser.experiment.kernel_choice import KernelChoice
from fastser.experiment.roles import CorpusRoles, read_roles
from fastser.experiment.tables import TABLES
from fastser.settings import Settings


def announced_roles(options: GridOptions, console: Console) -> CorpusRoles:
    """Read the corpora of the options, and print one line for each and its warnings.

    Raises:
        RoleError: If an argument cannot be used.
        CorpusError: If a path does not hold the corpus that the name stands for.
    """
    if options.uses_stand_ins:
        say(console, "no corpus given: using the synthetic stand-ins (made once, then cached)")
    roles = read_roles(options.source, options.target, options.noise, options.selected_classes)
    for corpus in roles.present().values():
        say(console, corpus.summary, *(f"warning: {warning}" for warning in corpus.warnings))
    return roles


def prepared_dataset(
    corpus: Corpus,
    settings: Settings,
    speeds: Sequence[float],
    device: torch.device,
    allow_bad_files: bool,
    console: Console,
) -> Dataset:
    """Prepare one corpus, and show the progress of decoding.

    Args:
        corpus: The corpus.
        settings: All settings.
        speeds: Speed factors for speed perturbation.
        device: Device of the data in this process.
        allow_bad_files: As in `fastser.data.prepare`.
        console: Console for the progress.

    Raises:
        CorpusError: If the corpus cannot be used.
    """
    with (
        file_counter(corpus.title, len(corpus.utterances), console) as on_file,
        steps(f"spectrograms of {corpus.title}", None, console) as on_spectrograms,
    ):
        return prepare(
            corpus,
            settings,
            speeds=speeds,
            device=device,
            allow_bad_files=allow_bad_files,
            on_file=on_file,
            on_spectrograms=on_spectrograms,
        )


def prepared_noise(noise: NoiseCorpus, settings: Settings, console: Console) -> NoiseBank:
    """Decode the noise recordings, and show the progress.

    Raises:
        CorpusError: If the noise cannot be used.
    """
    with file_counter(noise.title, len(recordings_of_scenes(noise, settings)), console) as on_file:
        return prepare_noise(noise, settings, on_file=on_file)


def prepared_experiment(
    roles: CorpusRoles,
    settings: Settings,
    options: CliOptions,
    augmentations: Sequence[str],
    kernel_choice: KernelChoice,
    device: torch.device,
    data_device: torch.device,
    console: Console,
) -> Experiment:
    """Prepare the corpora and print warnings about their files.

    Args:
        roles: Corpora by role.
        settings: All settings.
        options: Tables, seed, and whether bad files are allowed.
        augmentations: Names of the augmentations of the plan. They decide which speeds are needed.
        kernel_choice: Choice between the kernels and the references.
        device: Device of the models.
        data_device: Device of the data in this process.
        console: Console for warnings and progress.

    Raises:
        CorpusError: If a corpus cannot be used.
        NoiseError: If the noise cannot be used.
    """

    def prepared(corpus: Corpus | None, speeds: Sequence[float]) -> Dataset | None:
        if corpus is None:
            return None
        dataset = prepared_dataset(corpus, settings, speeds, data_device, options.allow_bad_files, console)
        say(console, *(f"warning: {warning}" for warning in dataset.warnings))
        return dataset

    factors = settings.augmentation.speed_factors
    source = prepared(roles.source, factors if _needs_speeds("source", augmentations, options) else ())
    noise = prepared_noise(roles.noise, settings, console) if roles.noise and source else None
    target = prepared(roles.target, factors if _needs_speeds("target", augmentations, options) else ())
    return Experiment(settings, options.seed, source, target, noise, device, kernel_choice)


def _needs_speeds(role: str, augmentations: Sequence[str], options: CliOptions) -> bool:
    """Return whether a requested table trains on this corpus with speed perturbation."""
    with_speed = [name for name in augmentations if AUGMENTATIONS[name].speed]
    return any(table.trains_on(role, with_speed) for table in map(TABLES.__getitem__, options.tables()))
