"""Page, CSV file and picture of the UAR by number of training speakers."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.recorded_runs import TASK
from benchmarks.speaker_means import mean_over_speakers
from benchmarks.speaker_record import Scored
from fastser.experiment.experiment import Experiment
from fastser.models import MODELS
from fastser.report.markdown import markdown_table
from fastser.runtime.files import atomic_write
from fastser.training.yardsticks import LOWEST_USEFUL, YARDSTICKS


def page(experiment: Experiment, models: Sequence[str], planned: int, scores: Sequence[Scored]) -> str:
    """Return the page in Markdown.

    Args:
        experiment: Experiment of the runs.
        models: Names of the models, with that of the yardstick.
        planned: Number of planned runs.
        scores: The runs that are recorded.
    """
    corpus, protocol = experiment.dataset("source").corpus, experiment.settings.protocol
    columns = ["training speakers", "utterances"]
    for model in models:
        columns += [_title(model), "95 % interval"]
        columns += [] if model == LOWEST_USEFUL else ["minus Linear", "95 % interval"]
    rows = [_row(models, [s for s in scores if s.trial.speakers == number]) for number in _numbers(scores)]
    lines = [
        f"# UAR by number of training speakers: {corpus.title}, {experiment.settings.scale} scale",
        "",
        f"{corpus.summary}. {len(experiment.folds(TASK))} folds x {protocol.repeats} repeats, no augmentation, "
        f"{len(scores)} of {planned} runs.",
        "",
        "UAR on clean speech in percent: mean over the test speakers, with a 95 % interval (Student's t) over them. "
        "The difference from Linear is paired by fold and repeat. Both have the same training utterances. The speakers "
        "are drawn at random for each fold and repeat, and a larger set contains the smaller ones. The networks have "
        "as many updates with few speakers as with all.",
        "",
        markdown_table(columns, rows),
        "",
        "![UAR over the number of training speakers](training_speakers.png)",
        "",
    ]
    lines += [f"- {name}: {text}" for name, text in experiment.environment().items()]
    return "\n".join([*lines, ""])


def _numbers(scores: Sequence[Scored]) -> list[int]:
    return sorted({scored.trial.speakers for scored in scores})


def _title(model: str) -> str:
    return (YARDSTICKS if model in YARDSTICKS else MODELS)[model].title


def _row(models: Sequence[str], scores: Sequence[Scored]) -> list[str]:
    """Return the row of one number of speakers."""
    by_model = {model: {_place(s): s.uar for s in scores if s.trial.point.model == model} for model in models}
    cells = [str(scores[0].trial.speakers), f"{np.mean([scored.utterances for scored in scores]):.0f}"]
    for model, of_model in by_model.items():
        pairs = [of_model]
        if model != LOWEST_USEFUL:
            linear = by_model[LOWEST_USEFUL]
            pairs += [{place: uar - linear[place] for place, uar in of_model.items() if place in linear}]
        for index, values in enumerate(pairs):
            mean = mean_over_speakers((fold, value) for (fold, _), value in values.items()) if values else None
            cells += ["", ""] if mean is None else [f"{mean.value:+.1f}" if index else f"{mean.value:.1f}", mean.ends]
    return cells


def _place(scored: Scored) -> tuple[str, int]:
    return scored.trial.point.fold, scored.trial.point.repeat


def write_csv(path: Path, scores: Sequence[Scored]) -> None:
    """Write one line per run. UAR is in percent."""
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["model", "fold", "repeat", "training_speakers", "training_utterances", "epochs", "uar"])
        for scored in scores:
            point = scored.trial.point
            run = [point.model, point.fold, point.repeat, scored.trial.speakers]
            writer.writerow([*run, scored.utterances, scored.epochs, f"{scored.uar:.2f}"])


def draw(path: Path, models: Sequence[str], scores: Sequence[Scored]) -> None:
    """Draw UAR over the number of training speakers, a line per model with the interval as a band."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for model in models:
        numbers = _numbers([scored for scored in scores if scored.trial.point.model == model])
        means = [
            mean_over_speakers(
                (s.trial.point.fold, s.uar)
                for s in scores
                if s.trial.point.model == model and s.trial.speakers == number
            )
            for number in numbers
        ]
        axes.plot(numbers, [mean.value for mean in means], marker="o", label=_title(model))
        if means and all(mean.interval for mean in means):
            low, high = zip(*(mean.interval for mean in means if mean.interval), strict=True)
            axes.fill_between(numbers, low, high, alpha=0.15)
    axes.set_xticks(_numbers(scores))
    axes.set_xlabel("training speakers")
    axes.set_ylabel("UAR in percent")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_write(path) as part:
        figure.savefig(part, format="png", dpi=150)
