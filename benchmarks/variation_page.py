"""Page of a variation: the UAR of the ordinary runs, that of the varied runs, and their difference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from benchmarks.clean_run import Scored, StudyRun
from benchmarks.speaker_means import Place, mean_over_folds, minus
from benchmarks.study_page import document, title_of
from benchmarks.variation_sets import Variation
from fastser.experiment.experiment import Experiment
from fastser.report.markdown import markdown_table
from fastser.training.yardsticks import LOWEST_USEFUL


@dataclass(frozen=True)
class VariationRun(StudyRun):
    """An ordinary or a varied run.

    Attributes:
        varied: Whether the run is varied.
    """

    varied: bool


Scores = Sequence[Scored[VariationRun]]


def page(experiment: Experiment, variation: Variation, models: Sequence[str], planned: int, scores: Scores) -> str:
    """Return the page in Markdown.

    Args:
        experiment: Experiment of the ordinary runs.
        variation: The variation.
        models: Names of the models, with that of the yardstick.
        planned: Number of planned runs.
        scores: The runs that are recorded.
    """
    cases = [variation.ordinary, variation.varied, f"{variation.varied} minus {variation.ordinary}"]
    columns = ["model", *(name for case in cases for name in (case, "minus Linear"))]
    linear = _cases(LOWEST_USEFUL, scores)
    rows = [[title_of(model), *_cells(_cases(model, scores), linear, model == LOWEST_USEFUL)] for model in models]
    paragraphs = [
        variation.text,
        "UAR on clean speech in percent: mean over the test speakers, with a 95 % interval (Student's t) over them in "
        f"parentheses. Differences are paired by fold and repeat. {_training_utterances(variation, scores)}",
        markdown_table(columns, rows),
    ]
    return document(variation.heading, experiment, f"{len(scores)} of {planned} runs", paragraphs)


def _cases(model: str, scores: Scores) -> list[Mapping[Place, float]]:
    """Return the UAR of a model in ordinary and in varied runs, and the differences of pairs."""
    ordinary, varied = (
        {s.place: s.uar for s in scores if s.run.point.model == model and s.run.varied is varied}
        for varied in (False, True)
    )
    return [ordinary, varied, minus(varied, ordinary)]


def _cells(
    ours: Sequence[Mapping[Place, float]], linear: Sequence[Mapping[Place, float]], is_linear: bool
) -> list[str]:
    """Return the cells of a model: each case, and what it is minus that of Linear."""
    cells = []
    for case, (values, others) in enumerate(zip(ours, linear, strict=True)):
        cells += [_cell(values, signed=case == 2), "" if is_linear else _cell(minus(values, others), signed=True)]
    return cells


def _cell(values: Mapping[Place, float], *, signed: bool) -> str:
    mean_of = mean_over_folds(values)
    if mean_of is None:
        return ""
    number = "{:+.1f}" if signed else "{:.1f}"
    interval = "" if mean_of.interval is None else f" ({' to '.join(map(number.format, mean_of.interval))})"
    return f"{number.format(mean_of.value)}{interval}"


def _training_utterances(variation: Variation, scores: Scores) -> str:
    """Return a sentence with the size of the training sets."""
    sizes = []
    for varied in (False, True):
        numbers = [scored.utterances for scored in scores if scored.run.varied is varied]
        sizes += [f"{mean(numbers):.0f} ({variation.case(varied)})"] if numbers else []
    return f"Mean number of training utterances: {', '.join(sizes) or 'none'}."
