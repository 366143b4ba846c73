"""Data of a baseline and its answers. Answers with equal audio and spectrogram settings share prepared datasets."""

from collections.abc import Iterable, Sequence

import torch
from rich.console import Console

from fastser.augmentation import AUGMENTATIONS
from fastser.cli.console import say
from fastser.cli.kernel_test import choose_kernels
from fastser.cli.options import GridOptions, KernelMode
from fastser.cli.prepare import prepared_dataset, prepared_noise
from fastser.data.dataset import Dataset
from fastser.data.noise import NoiseBank
from fastser.experiment.experiment import Experiment
from fastser.experiment.roles import CorpusRoles
from fastser.experiment.tasks import Role
from fastser.settings import AudioSettings, Settings, SpectrogramSettings


class AnswerData:
    """Corpora that are prepared once for all answers with equal settings.

    Args:
        roles: Corpora by role.
        options: Seed, and whether bad files are allowed.
        augmentations: Names of the augmentations of the models. They decide whether speeds are needed.
        kernel_mode: Value of `--kernels`.
        device: Device of the models.
        here: Whether the runs have this process, which then holds the data on the device.
        console: Console for warnings and progress. Each line is printed once.
    """

    def __init__(
        self,
        roles: CorpusRoles,
        options: GridOptions,
        augmentations: Iterable[str],
        kernel_mode: KernelMode,
        device: torch.device,
        here: bool,
        console: Console,
    ) -> None:
        self._roles, self._options, self._kernel_mode = roles, options, kernel_mode
        self._model_device, self._here, self._console = device, here, console
        self.device = device if here else torch.device("cpu")
        self._with_speed = any(AUGMENTATIONS[name].speed for name in augmentations)
        self._datasets: dict[tuple[Role, AudioSettings, SpectrogramSettings, tuple[float, ...]], Dataset] = {}
        self._noise: dict[AudioSettings, NoiseBank] = {}
        self._said: set[str] = set()

    def experiment(self, settings: Settings, models: Sequence[str]) -> Experiment:
        """Return the experiment of an answer or of the baseline.

        Args:
            settings: All settings, with a chosen precision.
            models: Names of the models, whose kernels are tested.

        Raises:
            CorpusError: If a corpus cannot be used.
            NoiseError: If the noise cannot be used.
        """
        kernels, lines = choose_kernels(
            self._kernel_mode, models, settings, self._model_device, self._console, here=self._here
        )
        self._say(*lines)
        return Experiment(
            settings,
            self._options.seed,
            self._dataset("source", settings),
            self._dataset("target", settings),
            self._noise_bank(settings),
            self._model_device,
            kernels,
        )

    def _dataset(self, role: Role, settings: Settings) -> Dataset | None:
        corpus = self._roles.source if role == "source" else self._roles.target
        if corpus is None:
            return None
        with_speed = self._with_speed and role == "source"  # no model is trained on the target
        speeds = settings.augmentation.speed_factors if with_speed else ()
        place = role, settings.audio, settings.spectrogram, speeds
        if place not in self._datasets:
            allow_bad_files = self._options.allow_bad_files
            dataset = prepared_dataset(corpus, settings, speeds, self.device, allow_bad_files, self._console)
            self._say(*(f"warning: {warning}" for warning in dataset.warnings))
            self._datasets[place] = dataset
        return self._datasets[place]

    def _noise_bank(self, settings: Settings) -> NoiseBank | None:
        if self._roles.noise is None:
            return None
        if settings.audio not in self._noise:
            self._noise[settings.audio] = prepared_noise(self._roles.noise, settings, self._console)
        return self._noise[settings.audio]

    def _say(self, *lines: str) -> None:
        new = [line for line in dict.fromkeys(lines) if line not in self._said]
        self._said.update(new)
        say(self._console, *new)
