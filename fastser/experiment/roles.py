"""Which corpora play source, target and noise, and what cannot be made without one of them."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fastser.data.corpora import Corpus, NoiseCorpus, read_corpus, read_noise
from fastser.data.corpora.synthetic import generate
from fastser.runtime.files import cache_dir

NEEDS = {
    "table1": ("source", "target"),
    "table2": ("source", "noise"),
    "table3": ("source",),
    "table4": ("source", "target"),
    "figure2": ("source", "target"),
}
"""The roles that each part of the paper takes."""


class RoleError(ValueError):
    """A corpus argument that cannot be used, in one sentence."""


@dataclass(frozen=True)
class CorpusRoles:
    """What plays the three roles; None where the command line gave nothing for one."""

    source: Corpus | None
    target: Corpus | None
    noise: NoiseCorpus | None

    def present(self) -> dict[str, Corpus | NoiseCorpus]:
        """What is there, by role."""
        roles: dict[str, Corpus | NoiseCorpus | None] = {
            "source": self.source,
            "target": self.target,
            "noise": self.noise,
        }
        return {role: corpus for role, corpus in roles.items() if corpus is not None}

    def missing(self, tables: Collection[str]) -> dict[str, str]:
        """Why some tables cannot be filled, or (Table 1) not wholly: a sentence by table."""
        here = self.present()
        reasons = {}
        for table in sorted(tables):
            absent = [f"no --{role}" for role in NEEDS[table] if role not in here]
            if absent:
                reasons[table] = f"{' and '.join(absent)} was given."
        return reasons


def read_roles(source: str | None, target: str | None, noise: str | None) -> CorpusRoles:
    """Read the corpora of the command line's NAME=PATH arguments; the synthetic stand-ins if it has none.

    Raises:
        RoleError: If an argument is not NAME=PATH, or there is noise without speech.
        CorpusError: If a path is not what its name says.
    """
    if source is None and target is None and noise is None:
        stand_ins = generate(cache_dir() / "stand-ins")
        return CorpusRoles(
            read_corpus("iemocap", stand_ins.iemocap),
            read_corpus("msp-improv", stand_ins.msp_improv),
            read_noise("demand", stand_ins.demand),
        )
    if source is None and target is None:
        raise RoleError("--noise alone is not enough: give --source NAME=PATH too")
    return CorpusRoles(
        read_corpus(*_name_and_path("--source", source)) if source is not None else None,
        read_corpus(*_name_and_path("--target", target)) if target is not None else None,
        read_noise(*_name_and_path("--noise", noise)) if noise is not None else None,
    )


def _name_and_path(option: str, text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not path:
        raise RoleError(f"{option} {text}: expected NAME=PATH, such as iemocap=/data/IEMOCAP_full_release")
    return name, Path(path).expanduser()
