"""Options of `python -m fastser.train`. Torch is not imported here, so that `--help` is quick."""

from dataclasses import dataclass
from pathlib import Path

from fastser.cli.options import (
    KernelMode,
    UsageError,
    checked_kernel_mode,
    class_names,
    given_corpus,
    settings_of_scale,
)
from fastser.runtime.options import Group, option
from fastser.settings import PAPER_CLASSES, Settings


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Arguments of the command line. Each field is one option, in the order of `--help`."""

    source: str | None = option(
        None,
        "Corpus to train on, with all of its speakers: emodb=PATH, manifest=FILE.csv ...",
        metavar="NAME=PATH",
        group=Group.CORPORA,
    )
    model: str = option(
        "proposed", "A network (cnn, proposed, ...) or a yardstick (linear).", metavar="NAME", group=Group.RUNS
    )
    augmentation: str = option("none", "none, speed, mixup or speed+mixup.", metavar="NAME", group=Group.RUNS)
    results: Path | None = option(
        None,
        "Results folder of fastser.reproduce with the finished leave-one-speaker-out runs of the same model and "
        "settings. They give the number of epochs and the scores of the model card.",
        flag="--from",
        metavar="DIR",
        group=Group.RUNS,
    )
    epochs: int | None = option(
        None,
        "Number of epochs. Default: that of the settings with training.schedule=cosine, as at scale open, otherwise "
        "the median of the kept epochs of the runs in --from.",
        metavar="N",
        minimum=1,
        group=Group.RUNS,
    )
    out: Path = option(Path("models"), "Folder of the model and its card.", metavar="DIR", group=Group.RESULTS)
    name: str | None = option(
        None,
        "Name of the files. Default: CORPUS-MODEL-AUGMENTATION, such as emodb-proposed-none.",
        metavar="NAME",
        group=Group.RESULTS,
    )
    scale: str = option("paper", "Settings of paper, open or quick scale.", metavar="NAME", group=Group.RUNS)
    set: tuple[str, ...] = option(
        (), "Change a setting, such as training.batch_size=32. May be repeated.", metavar="NAME=VALUE", group=Group.RUNS
    )
    classes: str = option(
        ",".join(PAPER_CLASSES),
        "Emotions to recognise. all: every label of the corpus.",
        metavar="A,B",
        group=Group.CORPORA,
    )
    seed: int = option(0, "Seed, that of the runs in --from.", metavar="N", minimum=0, group=Group.RUNS, rare=True)
    kernels: str = option(
        "auto", "auto, fused or reference, as in fastser.reproduce.", metavar="NAME", group=Group.EXECUTION, rare=True
    )
    device: str = option("auto", "cpu, cuda, cuda:1, or auto.", metavar="NAME", group=Group.EXECUTION)
    allow_bad_files: bool = option(
        False, "Go on even if more than 5 % of the corpus' files are unusable.", group=Group.CORPORA, rare=True
    )

    @property
    def selected_classes(self) -> tuple[str, ...] | None:
        """Class names, or None for all."""
        return class_names(self.classes)

    def corpus(self) -> str:
        """Return the value of `--source`.

        Raises:
            UsageError: If it is missing.
        """
        return given_corpus(self.source)

    def settings(self) -> Settings:
        """Return the settings of the scale, changed by the options.

        Raises:
            UsageError: If there is no such scale.
            SettingsError: If `--set` names no setting, or gives an invalid value.
        """
        return settings_of_scale(self.scale).override(self.set)

    def kernel_mode(self) -> KernelMode:
        """Return the value of `--kernels`.

        Raises:
            UsageError: If `--kernels` has another value.
        """
        return checked_kernel_mode(self.kernels)

    def file_name(self, corpus: str) -> str:
        """Return the name of the files without suffix.

        Args:
            corpus: Name of the reader of the corpus.

        Raises:
            UsageError: If the name is not that of a file.
        """
        name = self.name or f"{corpus}-{self.model}-{self.augmentation}"
        if Path(name).name != name:
            raise UsageError(f"--name {name}: expected a name without folder; --out is the folder")
        return name.removesuffix(".safetensors")
