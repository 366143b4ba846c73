"""Page and CSV file of the comparison of rules that choose an epoch."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median

from benchmarks.epoch_record import RunRecord
from benchmarks.epoch_rules import (
    BAD_POINTS,
    LAST_EPOCHS,
    ORACLE,
    RULES,
    Choice,
    median_correlation,
)
from benchmarks.speaker_means import mean_over_speakers
from fastser.experiment.experiment import Experiment
from fastser.experiment.tasks import TASKS
from fastser.models import MODELS
from fastser.report.markdown import markdown_table
from fastser.runtime.csv_file import csv_file
from fastser.settings import Settings, TrainingSettings

Records = Mapping[str, Sequence[RunRecord]]
"""Recorded runs by name of the model."""


def page(experiment: Experiment, task: str, settings: Settings, records: Records) -> str:
    """Return the comparison of the rules on the recorded runs in Markdown.

    Args:
        experiment: Experiment of the runs.
        task: Their task.
        settings: Settings of the scale, whose rule is one of those compared.
        records: The runs that are recorded.
    """
    corpus = experiment.dataset(TASKS[task].tests_on).corpus
    folds = experiment.folds(task)
    sizes = [len(fold.validation) for fold in folds.values()]
    planned = len(folds) * settings.protocol.repeats
    training = settings.training
    lines = [
        f"# How often the chosen epoch is a bad one: {corpus.title}, {settings.scale} scale",
        "",
        f"{corpus.summary}. {len(sizes)} folds x {settings.protocol.repeats} repeats, no augmentation. The validation "
        f"sets have {min(sizes)} to {max(sizes)} utterances, median {median(sizes):g}.",
        "",
        f"Every model is trained for {training.max_epochs} epochs and tested on clean speech after each of them. The "
        f"test scores do not influence the training. {_schedule(training)} All other rules choose among all epochs, "
        "the first one if several are best.",
        "",
        "The oracle knows the test set. It is an upper bound that no rule can reach, also because the highest of many "
        "noisy scores is too high. A chosen epoch is bad if its test UAR is more than "
        f"{' or '.join(map(str, BAD_POINTS))} percentage points below the median of the last {LAST_EPOCHS} epochs of "
        "its run. The numbers of bad runs are in parentheses. UAR in percent: mean over speakers of the mean over "
        "repeats, with a 95 % interval (Student's t) over the speakers.",
        "",
    ]
    for model, recorded in records.items():
        lines += [f"## {MODELS[model].title}", "", f"{len(recorded)} of {planned} runs.", ""]
        if recorded:
            lines += [*_of_model(recorded, settings), ""]
    lines += [f"- {name}: {text}" for name, text in experiment.environment().items()]
    return "\n".join([*lines, ""])


def _schedule(training: TrainingSettings) -> str:
    """Return what sets the learning rate of all rules, and what the rule of the scale chooses."""
    if training.schedule == "cosine":
        return (
            "The learning rate falls along half a cosine, whatever the rule that chooses the epoch. The rule of the "
            "scale takes the last epoch."
        )
    score = _title(training.monitor)
    return (
        f"The learning rate is halved after {training.halve_after} epochs without a new best validation {score}, "
        f"whatever the rule that chooses the epoch. The rule of the scale takes the best validation {score} before "
        f"{training.stop_after} epochs without a new best."
    )


def _of_model(records: Sequence[RunRecord], settings: Settings) -> list[str]:
    """Return the table of the rules and the correlations of one model."""
    header = ["epoch chosen by", "mean epoch", "UAR", "95 % interval", "below the oracle", "95 % interval"]
    rows = []
    for rule in RULES:
        choices = [Choice.of(record, rule, settings.training) for record in records]
        uar, lost = (
            mean_over_speakers((choice.record.point.fold, value(choice)) for choice in choices)
            for value in (_uar, _below_oracle)
        )
        bad = [sum(choice.is_bad(points) for choice in choices) for points in BAD_POINTS]
        rows.append(
            [
                rule.title,
                f"{mean(choice.epoch for choice in choices):.1f}",
                f"{uar.value:.1f}",
                uar.ends,
                f"{lost.value:.1f}",
                "" if rule is ORACLE else lost.ends,
                *(f"{100 * number / len(choices):.0f} % ({number})" for number in bad),
            ]
        )
    table = markdown_table([*header, *(f"bad by {points} points" for points in BAD_POINTS)], rows)
    halves = (median_correlation(records, settings.training, second_half=half) for half in (False, True))
    over_all, over_second = (
        f"{'n/a' if value is None else f'{value:.2f}'} ({number} of {len(records)} runs)" for value, number in halves
    )
    score = _title(settings.training.monitor)
    sentence = (
        f"Correlation of validation {score} and test UAR over the epochs of a run, median over runs: {over_all}. In "
        f"the second half of the epochs: {over_second}. A run with constant scores has no correlation."
    )
    return [table, "", sentence]


def _uar(choice: Choice) -> float:
    return choice.uar


def _below_oracle(choice: Choice) -> float:
    return choice.oracle - choice.uar


def _title(monitor: str) -> str:
    return "UAR" if monitor == "uar" else monitor


def write_csv(path: Path, training: TrainingSettings, records: Records) -> None:
    """Write one line per run and rule. UAR is in percent."""
    columns: dict[str, Callable[[Choice], object]] = {
        "model": lambda choice: choice.record.point.model,
        "fold": lambda choice: choice.record.point.fold,
        "repeat": lambda choice: choice.record.point.repeat,
        "validation_utterances": lambda choice: choice.record.validation_utterances,
        "test_utterances": lambda choice: choice.record.test_utterances,
        "rule": lambda choice: choice.rule.name,
        "epoch": lambda choice: choice.epoch,
        "uar": lambda choice: f"{choice.uar:.2f}",
        "oracle_uar": lambda choice: f"{choice.oracle:.2f}",
        "typical_uar": lambda choice: f"{choice.typical:.2f}",
    }
    with csv_file(path, columns) as write_row:
        for record in (record for recorded in records.values() for record in recorded):
            for rule in RULES:
                choice = Choice.of(record, rule, training)
                write_row([of(choice) for of in columns.values()])
