"""Made-up runs whose numbers are known by hand, and reports of them."""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastser.augmentation import AUGMENTATIONS
from fastser.evaluation.metrics import accuracy_of, uar_of
from fastser.experiment.grid import GridPoint, RunId
from fastser.experiment.stored_runs import Run
from fastser.models import MODELS
from fastser.report import ReportContext
from fastser.settings import QUICK

EditPaper = Callable[[Callable[[str], str]], None]
"""Function that changes the text of `paper.toml` for one test."""

SNRS = (0, 10, 20)
SCENES = ("cafeteria", "kitchen")
SETTINGS = QUICK.override([f"noise.scenes={','.join(SCENES)}"])
SOURCE_CONDITIONS = (
    "clean",
    *(f"noise-{snr}db" for snr in SNRS),
    *(f"noise-{scene}-{snr}db" for scene in SCENES for snr in SNRS),
    "fgsm",
    "bim",
    *(f"bim-{eps}" for eps in (0.02, 0.04, 0.08)),
)


def run_id(task: str, model: str, augmentation: str, fold: str, repeat: int) -> RunId:
    corpus = {"source": "EMO-DB", "target": "RAVDESS", "cross": "EMO-DB -> RAVDESS"}[task]
    return RunId(
        GridPoint(task, model, augmentation, fold, repeat), corpus, f"{task}{model}{augmentation}{fold}{repeat}"
    )


def confusion(percent_correct: int, classes: int = 4) -> NDArray[np.int64]:
    """Return 100 utterances of each class. Those that are not recognised go to the next class."""
    right = np.eye(classes, dtype=np.int64)
    return percent_correct * right + (100 - percent_correct) * np.roll(right, 1, axis=1)


def finished(identity: RunId, confusions: Mapping[str, NDArray[np.int64]]) -> Run:
    """Return a finished run with these confusion matrices, for each of its speakers.

    A run across corpora has ten speakers, every other one a single speaker.
    """
    speakers = [f"s{n}" for n in range(10)] if identity.point.task == "cross" else [identity.point.fold]
    metrics = {name: {"uar": uar_of(matrix), "accuracy": accuracy_of(matrix)} for name, matrix in confusions.items()}
    by_speaker = {name: dict.fromkeys(speakers, matrix) for name, matrix in confusions.items()}
    sums = {name: len(speakers) * matrix for name, matrix in confusions.items()}
    return Run(identity, sums, by_speaker, metrics, {})


def plan(repeats: int, folds: int) -> list[RunId]:
    """Return all runs for a source corpus with `folds` speakers and a target corpus with one more."""
    runs = []
    source, target = [f"f{n}" for n in range(1, folds + 1)], [f"g{n}" for n in range(1, folds + 2)]
    for repeat in range(1, repeats + 1):
        runs += [run_id("source", m, a, f, repeat) for m in MODELS for a in AUGMENTATIONS for f in source]
        runs += [run_id("target", m, "none", f, repeat) for m in MODELS for f in target]
        runs += [run_id("cross", m, a, "all", repeat) for m in MODELS for a in AUGMENTATIONS]
    return runs


def as_the_paper_claims(identity: RunId) -> Run:
    """Return a run whose UAR rises along the paper's orders of models and augmentations, with noise from the repeat."""
    point = identity.point
    uar = 30 + 8 * list(MODELS).index(point.model) + 2 * list(AUGMENTATIONS).index(point.augmentation)
    uar += point.repeat % 2
    conditions = {"source": SOURCE_CONDITIONS, "target": ("clean",), "cross": ("cross-corpus",)}[point.task]
    return finished(identity, {name: confusion(uar - 5 * (name != "clean")) for name in conditions})


@cache
def _whole(repeats: int, folds: int) -> ReportContext:
    expected = plan(repeats, folds)
    return ReportContext(
        expected=expected,
        runs=[as_the_paper_claims(identity) for identity in expected],
        source_title="EMO-DB",
        target_title="RAVDESS",
        noise_title="ESC-50",
        settings=SETTINGS.override(["training.precision=float32"]),
        command="python -m fastser.reproduce --all",
        date="2026-01-31",
        environment={"device": "CPU, 2 cores", "torch": "2.13.0", "precision": "float32"},
        corpora_lines=["EMO-DB: 339 utterances, complete"],
    )


def context(repeats: int = 4, folds: int = 2, **changes: Any) -> ReportContext:
    """Return the context of a finished plan of all tables, with changes."""
    return replace(_whole(repeats, folds), **changes)


def with_yardsticks(context: ReportContext, percent: Mapping[str, int]) -> ReportContext:
    """Return a context with finished runs of yardsticks beside those of the networks.

    Args:
        context: Context of a finished plan.
        percent: UAR of each yardstick under every condition, in percent.
    """
    alone = [run for run in context.runs if (run.id.point.model, run.id.point.augmentation) == ("cnn", "none")]
    added = []
    for name, uar in percent.items():
        for run in alone:
            point = run.id.point
            identity = run_id(point.task, name, "none", point.fold, point.repeat)
            added.append(finished(identity, {condition: confusion(uar) for condition in run.confusions}))
    return replace(context, expected=[*context.expected, *(run.id for run in added)], runs=[*context.runs, *added])


def of_models(context: ReportContext, models: Sequence[str]) -> ReportContext:
    """Return a context with a plan of some models only, for a report that is made quickly."""
    return replace(
        context,
        expected=[identity for identity in context.expected if identity.point.model in models],
        runs=[run for run in context.runs if run.id.point.model in models],
    )


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def cells(line: str) -> list[str]:
    """Return the cells of a line of a Markdown table."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def section(page: str, heading: str) -> str:
    """Return the part of a page from a heading's line to the next heading."""
    _, _, rest = page.partition(f"\n## {heading}")
    assert rest, f"there is no heading '{heading}'"
    return rest.partition("\n## ")[0]


def with_table_4(text: str, *uars: float) -> str:
    """Return the text of `paper.toml` with these numbers, and no others, for the studies of Table 4."""
    given = iter(uars)
    lines = []
    for line in text.splitlines():
        if 'table = "table4"' in line:
            uar = next(given, None)
            line = re.sub(r"uar = [\d.]+, ", "", line)
            line = line if uar is None else line.replace("source =", f"uar = {uar}, source =")
        lines.append(line)
    return "\n".join(lines) + "\n"
