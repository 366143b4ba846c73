"""Corpora that were read become an experiment: decoded, or mapped from the cache, and checked."""

from collections.abc import Sequence

import torch
from rich.console import Console

from fastser.cli.console import file_counter, say
from fastser.cli.options import CliOptions, UsageError
from fastser.data.corpora import Corpus
from fastser.data.dataset import Dataset, prepare, prepare_noise
from fastser.experiment.experiment import Experiment
from fastser.experiment.roles import CorpusRoles
from fastser.settings import Settings


def prepared_experiment(
    roles: CorpusRoles,
    settings: Settings,
    request: CliOptions,
    augmentations: Sequence[str],
    device: torch.device,
    data_on: torch.device,
    console: Console,
) -> Experiment:
    """Prepare what plays the roles, and print what is odd about it.

    Args:
        roles: The corpora.
        settings: All settings.
        request: Seed, and whether bad files are allowed.
        augmentations: Those that will be trained with; they decide which speeds are needed.
        device: Where models are trained.
        data_on: Where the data are to lie in this process.
        console: Where to print.

    Raises:
        Exception: `UsageError`, `CorpusError` or `NoiseError` for data that cannot be used.
    """

    def prepared(corpus: Corpus | None, speeds: Sequence[float]) -> Dataset | None:
        if corpus is None:
            return None
        with file_counter(corpus.title, len(corpus.utterances), console) as on_file:
            dataset = prepare(
                corpus,
                settings,
                speeds=speeds,
                device=data_on,
                allow_bad_files=request.allow_bad_files,
                on_file=on_file,
            )
        say(console, *(f"warning: {warning}" for warning in dataset.warnings))
        return dataset

    if roles.source and roles.target:
        shared = {u.path.resolve() for u in roles.source.utterances} & {
            u.path.resolve() for u in roles.target.utterances
        }
        if shared:
            raise UsageError(f"--source and --target share {len(shared)} files, such as {min(shared)}")
    perturbs = any("speed" in name for name in augmentations) and request.tables != {"table1"}
    source = prepared(roles.source, settings.augmentation.speed_factors if perturbs else ())
    noise = prepare_noise(roles.noise, settings) if roles.noise and source else None
    experiment = Experiment(settings, request.seed, source, prepared(roles.target, ()), noise, device)
    say(console, *(f"warning: {warning}" for warning in experiment.check()))
    return experiment
