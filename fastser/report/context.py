"""Context of a report: everything that it says, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fastser.experiment.grid import RunId
from fastser.experiment.stored_runs import Run
from fastser.experiment.tables import TABLES, requestable
from fastser.experiment.tasks import TASKS
from fastser.report.audio import Listening
from fastser.report.published import published
from fastser.settings import PAPER_CLASSES, Settings

_SYNTHETIC = "synthetic "


@dataclass(frozen=True)
class ReportContext:
    """Content of a report.

    Attributes:
        expected: The whole plan.
        runs: Finished runs of the plan.
        source_title: Title of the source corpus, or None.
        target_title: Title of the target corpus, or None.
        noise_title: Title of the noise corpus, or None.
        settings: All settings.
        command: Command line that made the results.
        date: Date as text.
        environment: Machine, device, versions and commit, in the order of printing.
        corpora_lines: One line per corpus, with its completeness.
        classes: Class names in the order of the confusion matrices.
        synthetic: Roles ("source", "target", "noise") that synthetic stand-ins play.
        parts: Names of the requested tables.
        missing: Reason, by table, for tables that cannot be filled completely.
        failures: Failed runs, each with its reason in one sentence.
        listening: Audio to hear.
    """

    expected: Sequence[RunId]
    runs: Sequence[Run]
    source_title: str | None
    target_title: str | None
    noise_title: str | None
    settings: Settings
    command: str
    date: str
    environment: Mapping[str, str]
    corpora_lines: Sequence[str]
    classes: Sequence[str] = PAPER_CLASSES
    synthetic: frozenset[str] = frozenset()
    parts: Sequence[str] = field(default_factory=requestable)
    missing: Mapping[str, str] = field(default_factory=dict)
    failures: Sequence[tuple[RunId, str]] = ()
    listening: Listening = field(default_factory=Listening)

    @property
    def scale(self) -> str:
        """Name of the scale, "paper", "open" or "quick"."""
        return self.settings.scale

    @property
    def chance(self) -> float:
        """Chance level of the UAR, in percent."""
        return 100 / len(self.classes)

    def title(self, role: str) -> str | None:
        """Return the title of the corpus in the role "source", "target" or "noise", marked if it is synthetic."""
        title = {"source": self.source_title, "target": self.target_title, "noise": self.noise_title}[role]
        if title is None or role not in self.synthetic or title.startswith(_SYNTHETIC):
            return title
        return _SYNTHETIC + title

    def corpus(self, task: str) -> str | None:
        """Return the titles of a task's corpora as tables print them, or None if one is missing."""
        titles = [self.title(role) for role in TASKS[task].roles]
        return None if None in titles else " -> ".join(map(str, titles))

    def heading(self, table: str) -> str:
        """Return the heading of a table, with the titles of its corpora and the scale."""
        shown = TABLES[table]
        trained = " and ".join(title for task in shown.tasks if (title := self.corpus(task)))
        heading = shown.heading.format(
            source=self.corpus("source") or "no source corpus",
            target=self.corpus("target") or "no target corpus",
            cross=self.corpus("cross") or "no target corpus",
            noise=self.title("noise") or "a noise corpus",
            corpora=trained or "no corpus",
        )
        return f"{shown.title}: {heading}{f', {self.scale} scale' if self.scale != 'paper' else ''}"

    def on_paper_corpora(self, task: str) -> bool:
        """Return whether the task's corpora and classes are the paper's, real or as stand-ins."""
        titles = [(self.title(role) or "").removeprefix(_SYNTHETIC) for role in TASKS[task].roles]
        papers = [published().corpora[role] for role in TASKS[task].roles]
        return titles == papers and tuple(self.classes) == PAPER_CLASSES
