"""Roles: the corpora that play source, target and noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastser.data.corpora import (
    Corpus,
    CorpusError,
    NoiseCorpus,
    distinct_titles,
    noise_reader,
    read_corpus,
    read_noise,
    speech_reader,
)
from fastser.data.corpora.named_path import named_path
from fastser.data.corpora.synthetic import generate
from fastser.experiment.tables import TABLES
from fastser.runtime.errors import UserError
from fastser.runtime.files import cache_dir


class RoleError(UserError, ValueError):
    """A corpus argument that cannot be used. The message is one sentence."""


@dataclass(frozen=True)
class CorpusRoles:
    """Corpora by role, None where there is none."""

    source: Corpus | None
    target: Corpus | None
    noise: NoiseCorpus | None

    def present(self) -> dict[str, Corpus | NoiseCorpus]:
        """Return the corpora that are there, by role."""
        roles: dict[str, Corpus | NoiseCorpus | None] = {
            "source": self.source,
            "target": self.target,
            "noise": self.noise,
        }
        return {role: corpus for role, corpus in roles.items() if corpus is not None}

    def missing(self, tables: Sequence[str]) -> dict[str, str]:
        """Return the reason, by table, for tables that cannot be filled completely."""
        reasons = {}
        for table in tables:
            absent = [f"no --{role}" for role in TABLES[table].missing(self.present())]
            if absent:
                reasons[table] = f"{' and '.join(absent)} was given."
        return reasons


def read_roles(source: str | None, target: str | None, noise: str | None, classes: Sequence[str] | None) -> CorpusRoles:
    """Read the corpora of NAME=PATH arguments, or the synthetic stand-ins if there are no arguments.

    Args:
        source: Argument of `--source`.
        target: Argument of `--target`.
        noise: Argument of `--noise`.
        classes: Emotions to recognise. None takes all that the corpora have in common.

    Raises:
        RoleError: If an argument is not NAME=PATH, if there is noise without speech, or if source and target share
            files or have fewer than two classes in common.
        CorpusError: If a path does not hold the corpus that the name stands for, or a class is missing.
    """
    if source is None and target is None and noise is None:
        stand_ins = generate(cache_dir() / "stand-ins")
        return _with_classes(
            read_corpus("iemocap", stand_ins.iemocap, None),
            read_corpus("msp-improv", stand_ins.msp_improv, None),
            read_noise("demand", stand_ins.demand),
            classes,
        )
    if source is None and target is None:
        raise RoleError("--noise alone is not enough: give --source NAME=PATH too")
    roles = _with_classes(
        read_corpus(*name_and_path("--source", source), None) if source is not None else None,
        read_corpus(*name_and_path("--target", target), None) if target is not None else None,
        read_noise(*name_and_path("--noise", noise)) if noise is not None else None,
        classes,
    )
    _check_distinct(roles)
    return roles


def _with_classes(
    source: Corpus | None, target: Corpus | None, noise: NoiseCorpus | None, classes: Sequence[str] | None
) -> CorpusRoles:
    """Select the classes, and give corpora of the same title different ones."""
    speech = [corpus for corpus in (source, target) if corpus is not None]
    if classes is None and len(speech) == 2:
        classes = [name for name in speech[0].classes if name in speech[1].classes]
        if len(classes) < 2:
            raise RoleError(
                f"--classes all: {speech[0].title} ({', '.join(speech[0].classes)}) and {speech[1].title} "
                f"({', '.join(speech[1].classes)}) have fewer than two classes in common; choose --classes"
            )
    everything: list[Corpus | NoiseCorpus] = [corpus.select(classes) for corpus in speech]
    titled = iter(distinct_titles([*everything, *([noise] if noise else [])]))
    return CorpusRoles(
        next(titled) if source else None,  # type: ignore[arg-type]
        next(titled) if target else None,  # type: ignore[arg-type]
        next(titled) if noise else None,  # type: ignore[arg-type]
    )


def _check_distinct(roles: CorpusRoles) -> None:
    """Raise RoleError if source and target share files."""
    if roles.source and roles.target:
        shared = {u.path.resolve() for u in roles.source.utterances} & {
            u.path.resolve() for u in roles.target.utterances
        }
        if shared:
            raise RoleError(f"--source and --target share {len(shared)} files, such as {min(shared)}")


def check_arguments(source: str | None, target: str | None, noise: str | None) -> None:
    """Check that NAME=PATH arguments name a reader and an existing path, before a command reads the corpora.

    Args:
        source: Argument of `--source`.
        target: Argument of `--target`.
        noise: Argument of `--noise`.

    Raises:
        RoleError: If an argument is not NAME=PATH.
        CorpusError: If a name is unknown, or a path does not exist.
    """
    for option, text in (("--source", source), ("--target", target)):
        if text is not None:
            speech_reader(*name_and_path(option, text))
    if noise is not None:
        noise_reader(*name_and_path("--noise", noise))


def name_and_path(option: str, text: str) -> tuple[str, Path]:
    """Split the NAME=PATH argument of an option.

    Raises:
        RoleError: If it is not NAME=PATH.
    """
    try:
        return named_path(option, text, "folder" if option == "--noise" else "emodb")
    except CorpusError as error:
        raise RoleError(str(error)) from None
