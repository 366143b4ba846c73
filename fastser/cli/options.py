"""Options of commands that run a grid, and those of `python -m fastser.reproduce`, turned into settings.

Torch is not imported here, so that `--help` is quick.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fastser.experiment.options import RunOptions
from fastser.runtime.errors import UserError
from fastser.runtime.options import Group, option
from fastser.runtime.registry import UnknownNameError
from fastser.settings import PAPER_CLASSES, SCALES, Settings

KernelMode = Literal["auto", "fused", "reference"]
"""Value of `--kernels`."""

KERNELS: tuple[KernelMode, ...] = get_args(KernelMode)


class UsageError(UserError, ValueError):
    """Arguments that cannot be used. The message is one sentence."""


def checked_kernel_mode(name: str) -> KernelMode:
    """Return the value of `--kernels`.

    Raises:
        UsageError: If there is no such mode.
    """
    if name not in KERNELS:
        raise UsageError(f"--kernels {name}: expected {', '.join(KERNELS[:-1])} or {KERNELS[-1]}")
    return name


def class_names(text: str) -> tuple[str, ...] | None:
    """Return the names in the value of `--classes`, or None for all classes."""
    if text.strip().lower() == "all":
        return None
    return tuple(name.strip() for name in text.split(","))


@dataclass(frozen=True, kw_only=True)
class GridOptions(RunOptions):
    """Options of corpora, settings and the size of the grid."""

    source: str | None = option(
        None,
        "Corpus for clean speech, noise and attacks: iemocap=PATH, emodb=PATH, manifest=FILE.csv ...",
        metavar="NAME=PATH",
        group=Group.CORPORA,
    )
    target: str | None = option(
        None,
        "Second corpus, tested on across corpora: msp-improv=PATH, ravdess=PATH ...",
        metavar="NAME=PATH",
        group=Group.CORPORA,
    )
    noise: str | None = option(
        None, "Noise recordings: demand=PATH or folder=PATH.", metavar="NAME=PATH", group=Group.CORPORA
    )
    classes: str = option(
        ",".join(PAPER_CLASSES),
        "Emotions to recognise. all: every label that the corpora share.",
        metavar="A,B",
        group=Group.CORPORA,
    )
    scale: str | None = option(
        None,
        "paper: the published sizes. open: small models, every speaker, three repeats. quick: small models, few "
        "runs, minutes. Default: quick for stand-ins, else paper.",
        metavar="NAME",
        group=Group.RUNS,
    )
    models: str | None = option(
        None,
        "Only these models, and the yardsticks linear and majority unless one of them is named.",
        metavar="A,B",
        group=Group.RUNS,
    )
    folds: int | None = option(
        None, "Number of folds, evenly spaced over the test speakers.", metavar="N", minimum=1, group=Group.RUNS
    )
    repeats: int | None = option(
        None, "Number of repeats of each run, with other seeds.", metavar="N", minimum=1, group=Group.RUNS
    )
    kernels: str = option(
        "auto",
        "auto: fastser's own kernels, where a self-test on this machine finds them right and fast. fused: without "
        "the test. reference: plain PyTorch, to compare.",
        metavar="NAME",
        group=Group.EXECUTION,
        rare=True,
    )
    seed: int = option(
        0, "Seed from which all others are derived.", metavar="N", minimum=0, group=Group.RUNS, rare=True
    )
    set: tuple[str, ...] = option(
        (),
        "Change a setting, such as augmentation.mixup_alpha=0.4. May be repeated.",
        metavar="NAME=VALUE",
        group=Group.RUNS,
    )
    allow_bad_files: bool = option(
        False, "Go on even if more than 5 % of a corpus' files are unusable.", group=Group.CORPORA, rare=True
    )

    @property
    def uses_stand_ins(self) -> bool:
        """Whether no corpus is given, so that synthetic stand-ins are used."""
        return self.source is self.target is self.noise is None

    @property
    def selected_classes(self) -> tuple[str, ...] | None:
        """Class names, or None for all."""
        return class_names(self.classes)

    def settings(self) -> Settings:
        """Return the settings of the scale, narrowed and changed by the options.

        Raises:
            UsageError: If there is no such scale.
            SettingsError: If `--set` names no setting, or gives an invalid value.
        """
        name = self.scale or ("quick" if self.uses_stand_ins else "paper")
        base = settings_of_scale(name)
        narrowed = {"folds": self.folds, "repeats": self.repeats}
        protocol = base.protocol.model_copy(update={name: n for name, n in narrowed.items() if n is not None})
        return base.model_copy(update={"protocol": protocol}).override(self.set)

    def kernel_mode(self) -> KernelMode:
        """Return the value of `--kernels`.

        Raises:
            UsageError: If `--kernels` has another value.
        """
        return checked_kernel_mode(self.kernels)


@dataclass(frozen=True, kw_only=True)
class CliOptions(GridOptions):
    """Arguments of the command line. Each field is one option, in the order of `--help`."""

    everything: bool = option(False, "All tables and figures.", flag="--all", group=Group.RUNS)
    table: tuple[str, ...] = option(
        (), "One table, 1 to 4, or a registered one. May be repeated.", metavar="N", group=Group.RUNS
    )
    figure: tuple[str, ...] = option((), "Figure to make: 2.", metavar="N", group=Group.RUNS)
    augmentations: str | None = option(None, "Only these augmentations.", metavar="A,B", group=Group.RUNS)
    no_audio: bool = option(False, "Leave the audio of the corpora out of report.html.", group=Group.RESULTS, rare=True)

    def tables(self) -> tuple[str, ...]:
        """Return the names of the requested tables and figures, in the order of the report.

        Raises:
            UsageError: If nothing is requested, or something that does not exist.
        """
        from fastser.experiment.tables import requestable

        names = {_table_name("--table", "table", text) for text in self.table}
        names |= {_table_name("--figure", "figure", text) for text in self.figure}
        if not names and not self.everything:
            raise UsageError("nothing to do: give --all, --table 1..4 or --figure 2 (--help lists the options)")
        return tuple(name for name in requestable() if self.everything or name in names)


def given_corpus(source: str | None) -> str:
    """Return the value of a `--source` that a command cannot do without.

    Raises:
        UsageError: If it is missing.
    """
    if source is None:
        raise UsageError("give --source NAME=PATH, such as emodb=/data/EMODB")
    return source


def settings_of_scale(name: str) -> Settings:
    """Return the settings of `--scale NAME`.

    Raises:
        UsageError: If there is no such scale.
    """
    if name not in SCALES:
        raise UsageError(f"--scale {name}: expected {' or '.join(SCALES)}")
    return SCALES[name]


def chosen(option_name: str, text: str | None, known: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names in a comma-separated option in the order of `known`, or all names if it was not given.

    Titles as reports print them ("DenseNet-LSTM") are accepted too.

    Raises:
        UsageError: If a name is not known.
    """
    if text is None:
        return tuple(known)
    by_title = {str(getattr(item, "title", name)).lower(): name for name, item in known.items()}
    given = [name.strip() for name in text.split(",")]
    names = [name if name in known else by_title.get(name.lower(), name) for name in given]
    for name in names:
        try:
            known[name]
        except UnknownNameError as error:
            raise UsageError(f"{option_name}: {error}") from None
    return tuple(name for name in known if name in names)


def _table_name(flag: str, kind: str, text: str) -> str:
    from fastser.experiment.tables import TABLES, requestable

    name = f"{kind}{text}" if text.isdigit() else text
    if name not in requestable():
        known = ", ".join(n.removeprefix(kind) for n in requestable() if TABLES[n].kind == kind)
        raise UsageError(f"{flag} {text}: there is no such {kind}; known are {known or 'none'}")
    return name
