"""Variants of an experiment: the baseline, and one variant for each other answer to an open question."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import RunId, plan
from fastser.experiment.questions import Answer, Question
from fastser.settings import Settings

Prepare = Callable[[Settings, Sequence[str]], Experiment]
"""Function that returns the experiment of some settings and models."""


@dataclass(frozen=True)
class Variant:
    """Runs under one answer to one question.

    Attributes:
        question: The question, or None for the baseline.
        answer: The answer, or None for the baseline.
        runs: Runs of the plan.
    """

    question: Question | None
    answer: Answer | None
    runs: tuple[RunId, ...]

    @property
    def label(self) -> str:
        """Text for people, "normalisation of inputs: by utterance (open 3)"."""
        if self.question is None or self.answer is None:
            return "baseline"
        number = "" if self.question.number is None else f" (open {self.question.number})"
        return f"{self.question.title}: {self.answer.title}{number}"


def plan_variants(
    baseline: Experiment, questions: Sequence[Question], models: Sequence[str], tasks: Sequence[str], prepare: Prepare
) -> dict[Variant, Experiment]:
    """Return the variants of a baseline with their experiments, the baseline first.

    The baseline has all models, with each augmentation that a question asks for. An answer has only the models on which
    it acts, and the tasks whose results it can move.

    Args:
        baseline: The baseline, with a chosen precision. All variants keep this precision.
        questions: The questions.
        models: Names of the models.
        tasks: Names of the tasks that have corpora.
        prepare: Returns the experiment of an answer.
    """
    settings, with_noise = baseline.settings, baseline.noise is not None

    def runs_of(
        experiment: Experiment, of_models: Sequence[str], augmentations: Sequence[str], of_tasks: Sequence[str]
    ) -> tuple[RunId, ...]:
        folds = {task: tuple(experiment.folds(task)) for task in of_tasks}
        points = plan(folds, of_models, augmentations, settings.protocol.repeats)
        return tuple(experiment.identify(point) for point in points)

    asked: dict[Question, tuple[list[str], list[str]]] = {}
    for question in questions:
        acts_on = [model for model in models if question.acts_on(model)]
        moved = [task for task in tasks if question.shown(task, settings, with_noise=with_noise)]
        if acts_on and moved:
            asked[question] = acts_on, moved
    augmentations = list(dict.fromkeys(question.augmentation for question in asked))
    found = {Variant(None, None, runs_of(baseline, models, augmentations, tasks)): baseline}
    for question, (acts_on, moved) in asked.items():
        for answer, changed in question.alternatives(settings).items():
            experiment = prepare(changed, acts_on)
            runs = runs_of(experiment, acts_on, [question.augmentation], moved)
            found[Variant(question, answer, runs)] = experiment
    return found
