"""What the report of one command says: its plan, what of it is finished, and on what that was made."""

import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from fastser.cli.options import CliOptions
from fastser.experiment.experiment import Experiment
from fastser.experiment.roles import CorpusRoles
from fastser.experiment.store import ResultStore, Run, RunId
from fastser.report import ReportContext
from fastser.runtime.provenance import environment
from fastser.settings import PAPER


def report_context(
    request: CliOptions,
    roles: CorpusRoles,
    experiment: Experiment,
    identities: Sequence[RunId],
    store: ResultStore,
    failures: Sequence[tuple[RunId, str]],
    missing: Mapping[str, str],
) -> ReportContext:
    """Collect what `write_report` needs.

    Args:
        request: The command line.
        roles: The corpora.
        experiment: Data and settings.
        identities: The whole plan.
        store: Where its finished trainings are.
        failures: Trainings that failed, each with its reason.
        missing: Why a table cannot be filled, by table.
    """
    settings, paper = experiment.settings, PAPER.describe()
    runs = store.collect(identities)
    here = environment(str(experiment.device)) if request.executor == "serial" else _commonest(runs)
    present = roles.present()
    lines = [corpus.summary for corpus in present.values()]
    for dataset in (experiment.source, experiment.target):
        if dataset is not None and dataset.warnings:
            used, skipped = len(dataset.corpus.utterances), len(dataset.warnings)
            lines.append(f"{dataset.corpus.title}: {used} utterances used, {skipped} unusable files skipped")
    return ReportContext(
        expected=identities,
        runs=runs,
        source_title=roles.source.title if roles.source else None,
        target_title=roles.target.title if roles.target else None,
        noise_title=roles.noise.title if roles.noise else None,
        scale=settings.scale,
        command=shlex.join(["python", "-m", "fastser.reproduce", *sys.argv[1:]]),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        environment=here | _other_environments(runs, here),
        corpora_lines=lines,
        settings={name: (value, source, paper[name][0]) for name, (value, source) in settings.describe().items()},
        synthetic=frozenset(role for role, corpus in present.items() if corpus.synthetic),
        parts=request.tables,
        missing=missing,
        failures=failures,
    )


def _commonest(runs: Sequence[Run]) -> dict[str, str]:
    """Where most of the trainings were made; without one, where this process runs."""
    seen = Counter(tuple(run.facts.get("environment", {}).items()) for run in runs)
    return dict(seen.most_common(1)[0][0]) if seen else environment("cpu")


def _other_environments(runs: Sequence[Run], here: Mapping[str, str]) -> dict[str, str]:
    """What differs from here where reused trainings were made, by name: "commit of 3 trainings" -> text."""
    differing = Counter(
        (name, text)
        for run in runs
        for name, text in run.facts.get("environment", {}).items()
        if text != here.get(name)
    )
    return {f"{name} of {count} of the trainings": text for (name, text), count in sorted(differing.items())}
