"""Page and picture of the UAR by number of training speakers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.clean_run import Scored
from benchmarks.speaker_means import mean_over_folds, mean_over_speakers, minus
from benchmarks.speaker_record import SpeakersRun
from benchmarks.study_page import document, title_of
from fastser.experiment.experiment import Experiment
from fastser.report.markdown import markdown_table
from fastser.runtime.files import atomic_write
from fastser.training.yardsticks import LOWEST_USEFUL

Scores = Sequence[Scored[SpeakersRun]]


def page(experiment: Experiment, models: Sequence[str], planned: int, scores: Scores) -> str:
    """Return the page in Markdown.

    Args:
        experiment: Experiment of the runs.
        models: Names of the models, with that of the yardstick.
        planned: Number of planned runs.
        scores: The runs that are recorded.
    """
    columns = ["training speakers", "utterances"]
    for model in models:
        columns += [title_of(model), "95 % interval"]
        columns += [] if model == LOWEST_USEFUL else ["minus Linear", "95 % interval"]
    rows = [_row(models, [s for s in scores if s.run.speakers == number]) for number in _numbers(scores)]
    paragraphs = [
        "UAR on clean speech in percent: mean over the test speakers, with a 95 % interval (Student's t) over them. "
        "The difference from Linear is paired by fold and repeat. Both have the same training utterances. The speakers "
        "are drawn at random for each fold and repeat, and a larger set contains the smaller ones. The networks have "
        "as many updates with few speakers as with all.",
        markdown_table(columns, rows),
        "![UAR over the number of training speakers](training_speakers.png)",
    ]
    return document("UAR by number of training speakers", experiment, f"{len(scores)} of {planned} runs", paragraphs)


def _numbers(scores: Scores) -> list[int]:
    return sorted({scored.run.speakers for scored in scores})


def _row(models: Sequence[str], scores: Scores) -> list[str]:
    """Return the row of one number of speakers."""
    by_model = {model: {s.place: s.uar for s in scores if s.run.point.model == model} for model in models}
    cells = [str(scores[0].run.speakers), f"{np.mean([scored.utterances for scored in scores]):.0f}"]
    for model, of_model in by_model.items():
        pairs = [of_model] if model == LOWEST_USEFUL else [of_model, minus(of_model, by_model[LOWEST_USEFUL])]
        for index, values in enumerate(pairs):
            mean = mean_over_folds(values)
            cells += ["", ""] if mean is None else [f"{mean.value:+.1f}" if index else f"{mean.value:.1f}", mean.ends]
    return cells


def draw(path: Path, models: Sequence[str], scores: Scores) -> None:
    """Draw UAR over the number of training speakers, a line per model with the interval as a band."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for model in models:
        numbers = _numbers([scored for scored in scores if scored.run.point.model == model])
        means = [
            mean_over_speakers(
                (s.run.point.fold, s.uar) for s in scores if s.run.point.model == model and s.run.speakers == number
            )
            for number in numbers
        ]
        axes.plot(numbers, [mean.value for mean in means], marker="o", label=title_of(model))
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
