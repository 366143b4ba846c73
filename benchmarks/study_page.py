"""Pages and CSV files of studies."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.clean_run import AnyRun, Scored
from benchmarks.recorded_runs import TASK
from fastser.experiment.experiment import Experiment
from fastser.models import MODELS
from fastser.runtime.csv_file import csv_file
from fastser.runtime.files import atomic_write
from fastser.settings import SCALES, Settings
from fastser.training.yardsticks import YARDSTICKS


def title_of(model: str) -> str:
    """Return the title of a network or yardstick."""
    return (YARDSTICKS if model in YARDSTICKS else MODELS)[model].title


def document(heading: str, experiment: Experiment, runs: str, paragraphs: Sequence[str]) -> str:
    """Return the page of a study in Markdown, with the environment of the runs at its end.

    Args:
        heading: Heading. The corpus and the scale are added.
        experiment: Experiment of the runs.
        runs: Number of runs that are finished and planned, as text.
        paragraphs: Further paragraphs and tables.
    """
    corpus, protocol = experiment.dataset("source").corpus, experiment.settings.protocol
    folds = f"{len(experiment.folds(TASK))} folds x {protocol.repeats} repeats"
    blocks = [
        f"# {heading}: {corpus.title}, {experiment.settings.scale} scale",
        f"{corpus.summary}. {folds}, no augmentation, {runs}.",
        *_changed_settings(experiment.settings),
        *paragraphs,
        "\n".join(f"- {name}: {text}" for name, text in experiment.environment().items()),
    ]
    return "\n\n".join(blocks) + "\n"


def _changed_settings(settings: Settings) -> list[str]:
    """Return a paragraph with the settings that differ from those of the scale, if there are any.

    The precision is left out, since it stands in the environment, and so are folds and repeats.
    """
    of_scale = SCALES[settings.scale].describe()
    stated = ("training.precision", "protocol.folds", "protocol.repeats")
    changed = [
        f"{name}={value}"
        for name, (value, _) in settings.describe().items()
        if value != of_scale[name][0] and name not in stated
    ]
    return [f"Settings that differ from the scale: {', '.join(changed)}."] if changed else []


def write_runs(path: Path, column: str, value_of: Callable[[AnyRun], Any], scores: Iterable[Scored[AnyRun]]) -> None:
    """Write a CSV file with one line per run. UAR is in percent.

    Args:
        path: CSV file.
        column: Name of the column that tells the runs at one point of the grid apart.
        value_of: Value of a run in this column.
        scores: The runs that are recorded.
    """
    with csv_file(path, ["model", "fold", "repeat", column, "training_utterances", "epochs", "uar"]) as write_row:
        for scored in scores:
            found = [scored.utterances, scored.epochs, f"{scored.uar:.2f}"]
            write_row([scored.run.point.model, *scored.place, value_of(scored.run), *found])


def publish(path: Path, text: str, succeeded: bool) -> None:
    """Write a page and print it.

    Args:
        path: File of the page.
        text: The page.
        succeeded: Whether all workers ended without an error.

    Raises:
        SystemExit: If one did not.
    """
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")
    print(text)
    if not succeeded:
        raise SystemExit("a worker ended with an error, which is printed above; the same command continues")
