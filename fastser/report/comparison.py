"""Two results folders, paired by task, model, augmentation, condition, fold and repeat."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fastser.evaluation.conditions import curve_names, scene_noise_names
from fastser.evaluation.metrics import uar_of
from fastser.evaluation.statistics import Difference, holm
from fastser.experiment.stored_runs import Run
from fastser.experiment.tasks import TASKS
from fastser.models import MODELS
from fastser.report.evidence import difference_of_cells, units_of
from fastser.runtime.errors import UserError
from fastser.training.yardsticks import YARDSTICKS

Place = tuple[str, str, str, str, str, int]
"""Task, corpora, model, augmentation, fold and repeat of a run."""


class ComparisonError(UserError, ValueError):
    """Folders that cannot be compared. The message is one sentence."""


@dataclass(frozen=True)
class Folder:
    """The runs of a results folder, one for each place.

    Attributes:
        name: Path as text.
        runs: Runs by place.
        set_aside: Number of runs that are left out, because more runs of the same place have other settings.
    """

    name: str
    runs: dict[Place, Run]
    set_aside: int = 0

    @classmethod
    def of(cls, name: str, runs: Sequence[Run]) -> "Folder":
        """Choose a run for each place. Of several, the one with the most frequent settings and seed is taken."""
        frequency = Counter(_settings_text(run) for run in runs)
        chosen: dict[Place, Run] = {}
        for run in sorted(runs, key=lambda run: -frequency[_settings_text(run)]):
            chosen.setdefault(_place(run), run)
        return cls(name, chosen, len(runs) - len(chosen))


@dataclass(frozen=True)
class ComparedCell:
    """One system under one condition in both folders.

    Attributes:
        task: Name of the task.
        corpus: Titles of the corpora.
        model: Name of the model.
        augmentation: Name of the augmentation.
        condition: Name of the condition.
        first: Mean UAR over the paired runs in the first folder, a fraction.
        second: The same in the second folder.
        runs: Number of pairs.
        difference: Second minus first with interval and p-value, or None for a single speaker, a repeat without all
            folds, or the yardstick whose answer is constant.
        p_holm: p-value, corrected for the number of tested cells. 1 without a difference.
        in_supplement: Whether the condition is noise of a single scene or a point of the curve over eps.
    """

    task: str
    corpus: str
    model: str
    augmentation: str
    condition: str
    first: float
    second: float
    runs: int
    difference: Difference | None
    p_holm: float = 1.0
    in_supplement: bool = False

    @property
    def value(self) -> float:
        """Second minus first."""
        return self.second - self.first


def compared(first: Folder, second: Folder) -> list[ComparedCell]:
    """Compare every system and condition that both folders have.

    Raises:
        ComparisonError: If both are the same folder, or share no run.
    """
    if os.path.realpath(first.name) == os.path.realpath(second.name):
        raise ComparisonError(
            f"{first.name} and {second.name} are the same folder: give the folders of two experiments"
        )
    shared = [place for place in first.runs if place in second.runs]
    if not shared:
        raise ComparisonError(
            f"{first.name} and {second.name} share no run: they have {len(first.runs)} and {len(second.runs)}, none of "
            "the same task, corpus, model, augmentation, fold and repeat"
        )
    systems: dict[tuple[str, str, str, str], list[Place]] = {}
    for place in shared:
        systems.setdefault(place[:4], []).append(place)
    cells = [
        cell
        for system, places in sorted(systems.items(), key=lambda item: _rank(item[0]))
        for cell in _cells(system, [(first.runs[place], second.runs[place]) for place in places])
    ]
    if not cells:
        raise ComparisonError(
            f"{first.name} and {second.name} share no tested utterances: their runs have other classes or conditions, "
            "or other test sets"
        )
    corrected = holm([cell.difference.p if cell.difference else None for cell in cells])
    return [replace(cell, p_holm=p) for cell, p in zip(cells, corrected, strict=True)]


def _rank(system: tuple[str, str, str, str]) -> tuple[int, int, str]:
    """Return the key that orders systems by task, model and augmentation, as the reports do."""
    task, _, model, augmentation = system
    models = [*MODELS, *YARDSTICKS]
    return [*TASKS].index(task), models.index(model) if model in models else len(models), augmentation


def _cells(system: tuple[str, str, str, str], pairs: Sequence[tuple[Run, Run]]) -> Iterator[ComparedCell]:
    """Yield the cells of one system. Pairs that did not test the same utterances are left out."""
    task, corpus, model, augmentation = system
    for condition in dict.fromkeys(name for run, _ in pairs for name in run.confusions):
        same = [pair for pair in pairs if _same_test(*pair, condition)]
        if not same or condition in _copies(same[0][0]):
            continue
        low, high = [a for a, _ in same], [b for _, b in same]
        first, second = (float(np.mean([uar_of(run.confusions[condition]) for run in runs])) for runs in (low, high))
        difference = _difference(low, high, condition)
        yield ComparedCell(
            *(task, corpus, model, augmentation, condition, first, second, len(same), difference),
            in_supplement=condition in _supplements(low[0]),
        )


def _supplements(run: Run) -> frozenset[str]:
    """Return the names of the conditions of a run that are noise of a single scene, or a point of the curve."""
    settings = run.metadata.get("settings", {})
    noise, attack = settings.get("noise", {}), settings.get("attack", {})
    scenes = scene_noise_names(noise.get("scenes", ()), noise.get("snr_db", ()))
    return scenes | curve_names(attack.get("curve_eps", ()))


def _copies(run: Run) -> frozenset[str]:
    """Return the names of the conditions of a run that repeat another one: the curve at the eps of the tables."""
    attack = run.metadata.get("settings", {}).get("attack", {})
    return curve_names([attack["eps"]]) if "eps" in attack else frozenset()


def _same_test(a: Run, b: Run, condition: str) -> bool:
    """Return whether two runs tested as many utterances of each class of each speaker under a condition."""
    if condition not in a.by_speaker or condition not in b.by_speaker:
        return False
    if a.metadata.get("classes") != b.metadata.get("classes"):
        return False
    tested = [
        {speaker: matrix.sum(axis=1).tolist() for speaker, matrix in run.by_speaker[condition].items()}
        for run in (a, b)
    ]
    return tested[0] == tested[1]


def _difference(low: Sequence[Run], high: Sequence[Run], condition: str) -> Difference | None:
    units = [units_of(runs, condition) for runs in (low, high)]
    if units[0] is None or units[1] is None or units[0][0].shape[1] < 2:
        return None
    confusions = [np.sum([run.confusions[condition] for run in runs], axis=0) for runs in (low, high)]
    return difference_of_cells(units[0], units[1], (confusions[0], confusions[1]))


def settings_that_differ(first: Folder, second: Folder) -> list[tuple[str, str, str]]:
    """Return name and values of the settings, seeds and versions in which the paired runs differ."""
    lines: list[tuple[str, str, str]] = []
    described = [_described(folder, other) for folder, other in ((first, second), (second, first))]
    for name in dict.fromkeys([*described[0], *described[1]]):
        texts = [" | ".join(sorted(values.get(name, {"-"}))) for values in described]
        if texts[0] != texts[1]:
            lines.append((name, texts[0], texts[1]))
    return lines


def _described(folder: Folder, other: Folder) -> dict[str, set[str]]:
    """Return all values of each setting, seed and version of the runs that have a partner."""
    found: dict[str, set[str]] = {}
    for run in (run for place, run in folder.runs.items() if place in other.runs):
        settings = run.metadata.get("settings", {})
        values = {
            f"{section}.{name}": value
            for section, content in settings.items()
            if isinstance(content, dict) and section != "protocol"
            for name, value in content.items()
        }
        values["seed"] = run.metadata.get("seeds", {}).get("run", "-")
        for name, value in {**values, **run.metadata.get("environment", {})}.items():
            found.setdefault(name, set()).add(value if isinstance(value, str) else json.dumps(value))
    return found


def _place(run: Run) -> Place:
    point = run.id.point
    return point.task, run.id.corpus, point.model, point.augmentation, point.fold, point.repeat


def _settings_text(run: Run) -> str:
    return json.dumps([run.metadata.get("settings"), run.metadata.get("seeds", {}).get("run")], sort_keys=True)
