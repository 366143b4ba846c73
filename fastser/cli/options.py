"""What the command line asks for, checked and turned into settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastser.settings import SCALES, Settings


class UsageError(ValueError):
    """Arguments that cannot be used, in one sentence."""


@dataclass(frozen=True)
class CliOptions:
    """The command line's arguments, as `fastser.reproduce` documents them; `tables` are names such as "table1"."""

    tables: frozenset[str]
    source: str | None
    target: str | None
    noise: str | None
    scale: str | None
    models: str | None
    augmentations: str | None
    folds: int | None
    repeats: int | None
    device: str
    kernels: str
    seed: int
    out: Path
    changes: tuple[str, ...]
    dry_run: bool
    allow_bad_files: bool
    keep_models: bool
    retry_failed: bool
    checkpoint_minutes: float
    executor: str
    cpus_per_run: int
    gpus_per_run: float | None
    ray_address: str | None
    ray_dashboard: bool
    runs_per_job: int
    slurm: tuple[str, ...]

    def settings(self) -> Settings:
        """The settings of the scale, narrowed and changed as asked.

        Raises:
            SettingsError: If a change names no setting, or its value does not fit.
        """
        on_disk = any((self.source, self.target, self.noise))
        base = SCALES[self.scale or ("paper" if on_disk else "quick")]
        narrowed = {"folds": self.folds, "repeats": self.repeats}
        protocol = base.protocol.model_copy(update={name: n for name, n in narrowed.items() if n is not None})
        return base.model_copy(update={"protocol": protocol}).override(self.changes)


def chosen(option: str, text: str | None, known: Sequence[str]) -> tuple[str, ...]:
    """The names in a comma-separated option, in the order of `known`; all of them if it was not given.

    Raises:
        UsageError: If a name is not known.
    """
    if text is None:
        return tuple(known)
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise UsageError(f"{option}: there is no '{name}'; known are {', '.join(known)}")
    return tuple(name for name in known if name in names)
