"""Collection of a report's content from the plan and the results folder."""

from collections import Counter
from collections.abc import Mapping, Sequence

from fastser.experiment.executors import Executor
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import RunId
from fastser.experiment.roles import CorpusRoles
from fastser.experiment.store import ResultStore
from fastser.experiment.stored_runs import Run
from fastser.report.context import ReportContext
from fastser.runtime.counted import counted
from fastser.runtime.date import today
from fastser.runtime.provenance import environment
from fastser.settings import PAPER_CLASSES


def report_context(
    command: str,
    tables: Sequence[str],
    roles: CorpusRoles,
    experiment: Experiment,
    executor: Executor,
    expected: Sequence[RunId],
    store: ResultStore,
    failures: Sequence[tuple[RunId, str]],
    missing: Mapping[str, str],
) -> ReportContext:
    """Collect the content of a report.

    Args:
        command: Command line as text.
        tables: Names of the requested tables.
        roles: Corpora by role.
        experiment: Data and settings.
        executor: Executor of the runs.
        expected: The whole plan.
        store: Results folder.
        failures: Failed runs, each with its reason.
        missing: Reason, by table, for tables that cannot be filled completely.
    """
    runs = store.collect(expected)
    here = experiment.environment() if executor.in_this_process else _commonest(runs)
    present = roles.present()
    lines = [corpus.summary for corpus in present.values()]
    datasets = [dataset for dataset in (experiment.source, experiment.target) if dataset is not None]
    for dataset in datasets:
        if dataset.skipped:
            used = counted(len(dataset.corpus.utterances), "utterance")
            skipped = counted(dataset.skipped, "unusable file")
            lines.append(f"{dataset.corpus.title}: {used} used, {skipped} skipped")
    return ReportContext(
        expected=expected,
        runs=runs,
        source_title=roles.source.title if roles.source else None,
        target_title=roles.target.title if roles.target else None,
        noise_title=roles.noise.title if roles.noise else None,
        settings=experiment.settings,
        command=command,
        date=today(),
        environment=here | _other_environments(runs, here),
        corpora_lines=lines,
        classes=datasets[0].corpus.classes if datasets else PAPER_CLASSES,
        synthetic=frozenset(role for role, corpus in present.items() if corpus.synthetic),
        parts=tables,
        missing=missing,
        failures=failures,
    )


def _commonest(runs: Sequence[Run]) -> dict[str, str]:
    """Return the environment of most runs, or of this process if there is no run."""
    seen = Counter(tuple(run.metadata.get("environment", {}).items()) for run in runs)
    return dict(seen.most_common(1)[0][0]) if seen else environment("cpu")


def _other_environments(runs: Sequence[Run], here: Mapping[str, str]) -> dict[str, str]:
    """Return differences between the environments of the runs and this one: "commit of 3 runs" -> text."""
    differing = Counter(
        (name, text)
        for run in runs
        for name, text in run.metadata.get("environment", {}).items()
        if text != here.get(name)
    )
    return {f"{name} of {count} of the runs": text for (name, text), count in sorted(differing.items())}
