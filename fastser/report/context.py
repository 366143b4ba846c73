"""What a report is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastser.experiment.grid import TABLES, Task
from fastser.experiment.store import Run, RunId
from fastser.report.published import published

_SYNTHETIC = "synthetic "


@dataclass(frozen=True)
class ReportContext:
    """Everything that a report says, as plain values.

    Attributes:
        expected: The whole plan.
        runs: Those of its trainings that are finished.
        failures: Those that failed, each with its reason in one sentence.
        parts: Which of `TABLES` were asked for.
        missing: For a part that cannot be filled, or not wholly, the reason in one sentence.
        source_title: Title of the source corpus, None if there is none; so for the target corpus and the noise.
        target_title: See `source_title`.
        noise_title: See `source_title`.
        synthetic: Which of "source", "target", "noise" are generated stand-ins.
        scale: "paper" or "quick".
        command: The command line that made the results.
        date: When, as it is to be printed.
        environment: Machine, device, versions, commit: name -> text, printed in this order.
        corpora_lines: One line per corpus: what it is and whether the copy is complete.
        settings: Name -> (value here, source, value at paper scale); the report prints those that differ.
    """

    expected: Sequence[RunId]
    runs: Sequence[Run]
    source_title: str | None
    target_title: str | None
    noise_title: str | None
    scale: str
    command: str
    date: str
    environment: Mapping[str, str]
    corpora_lines: Sequence[str]
    settings: Mapping[str, tuple[Any, str, Any]]
    synthetic: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset(TABLES)
    missing: Mapping[str, str] = field(default_factory=dict)
    failures: Sequence[tuple[RunId, str]] = ()

    def title(self, role: str) -> str | None:
        """Title of the corpus in the role "source", "target" or "noise", marked where it is a stand-in."""
        title = {"source": self.source_title, "target": self.target_title, "noise": self.noise_title}[role]
        if title is None or role not in self.synthetic or title.startswith(_SYNTHETIC):
            return title
        return _SYNTHETIC + title

    def corpus(self, task: Task) -> str | None:
        """What a task is trained and tested on, as every table writes it; None if a corpus is missing."""
        if task != "cross":
            return self.title(task)
        source, target = self.title("source"), self.title("target")
        return f"{source} -> {target}" if source and target else None

    def on_paper_corpora(self, task: Task) -> bool:
        """Whether the task's corpora are the paper's, real or as stand-ins."""
        roles: tuple[Task, ...] = ("source", "target") if task == "cross" else (task,)
        return all((self.title(role) or "").removeprefix(_SYNTHETIC) == published().corpora[role] for role in roles)
