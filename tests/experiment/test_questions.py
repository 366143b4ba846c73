"""Open questions with more than one answer, and the variants of an experiment that they lead to."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import SMALL, stand_in_experiment

from fastser.experiment.experiment import Experiment
from fastser.experiment.questions import QUESTIONS, Question
from fastser.experiment.variants import Variant, plan_variants
from fastser.settings import SCALES, Settings

every_question = pytest.mark.parametrize("question", QUESTIONS.values(), ids=lambda question: question.name)


@pytest.fixture(scope="module")
def experiment(stand_ins: Path) -> Experiment:
    return stand_in_experiment(stand_ins, SMALL.override(["attack.bim_steps=24", "protocol.folds=2"]))


def variants(experiment: Experiment, *names: str, tasks: Sequence[str] = ("source", "cross")) -> list[Variant]:
    questions = [QUESTIONS[name] for name in names]
    return [
        *plan_variants(experiment, questions, ["cnn", "proposed"], tasks, lambda s, _: replace(experiment, settings=s))
    ]


def factors(variant: Variant) -> set[tuple[str, str, str]]:
    return {(run_id.point.task, run_id.point.model, run_id.point.augmentation) for run_id in variant.runs}


@pytest.mark.fast
@every_question
@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_gives_one_of_the_answers_and_the_others_are_valid_settings(scale: str, question: Question) -> None:
    baseline = SCALES[scale]
    titles = [answer.title for answer in question.answers(baseline)]
    others = question.alternatives(baseline)
    assert len(titles) == len(set(titles)) == len(others) + 1
    assert [question.answer_of(baseline)] == [title for title in titles if title not in {a.title for a in others}]
    assert len({settings.model_dump_json() for settings in others.values()} | {baseline.model_dump_json()}) == len(
        titles
    )


@pytest.mark.fast
def test_answers_are_relative_to_the_baseline() -> None:
    baseline = Settings().override(["spectrogram.kind=log-mel", "spectrogram.segment_hop=100", "training.batch_size=2"])
    answers = {
        name: [a.changes for a in QUESTIONS[name].alternatives(baseline)] for name in ("bins", "hop", "batch-size")
    }
    assert answers == {
        "bins": [("spectrogram.kind=linear",)],
        "hop": [("spectrogram.segment_hop=256",), ("spectrogram.segment_hop=128",)],
        "batch-size": [("training.batch_size=4",)],
    }
    own = Settings().override(["attack.bim_steps=7"])
    assert QUESTIONS["bim-steps"].answer_of(own) == f"attack.bim_steps=7, attack.bim_relative_step={1 / 20.4}"
    assert len(QUESTIONS["bim-steps"].alternatives(own)) == 3


@every_question
def test_another_answer_makes_other_runs(question: Question, experiment: Experiment) -> None:
    baseline, *others = variants(experiment, question.name, tasks=["source"])
    assert len(others) == len(question.alternatives(experiment.settings)) > 0
    keys = [run_id.key for variant in (baseline, *others) for run_id in variant.runs]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bins", {(task, model, "none") for task in ("source", "cross") for model in ("cnn", "proposed")}),
        ("stem", {("source", "proposed", "none"), ("cross", "proposed", "none")}),
        ("mixup-alpha", {(task, model, "mixup") for task in ("source", "cross") for model in ("cnn", "proposed")}),
        ("bim-steps", {("source", "cnn", "none"), ("source", "proposed", "none")}),
    ],
)
def test_an_answer_has_the_runs_that_it_can_move(
    name: str, expected: set[tuple[str, str, str]], experiment: Experiment
) -> None:
    for variant in variants(experiment, name)[1:]:
        assert factors(variant) == expected


def test_the_baseline_has_every_model_with_the_augmentations_of_the_questions(experiment: Experiment) -> None:
    assert {augmentation for *_, augmentation in factors(variants(experiment, "stem")[0])} == {"none"}
    baseline = variants(experiment, "stem", "mixup-weights", tasks=["source"])[0]
    assert factors(baseline) == {("source", m, a) for m in ("cnn", "proposed") for a in ("none", "mixup")}
    assert len(baseline.runs) == 2 * 2 * 2


@pytest.mark.parametrize(("name", "shown"), [("bim-steps", ["bim"]), ("eps-unit", ["fgsm", "bim"])])
def test_a_question_about_attacks_shows_attacks_only(name: str, shown: list[str]) -> None:
    assert [c.name for c in QUESTIONS[name].shown("source", SMALL, with_noise=True)] == shown


def test_single_noise_scenes_are_not_shown() -> None:
    question = QUESTIONS["bins"]
    names = [condition.name for condition in question.shown("source", SMALL, with_noise=True)]
    assert names == ["clean", "noise-0db", "fgsm", "bim"]
    assert [c.name for c in question.shown("source", SMALL, with_noise=False)] == ["clean", "fgsm", "bim"]
