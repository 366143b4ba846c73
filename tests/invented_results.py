"""Invented results of a run, for tests of the results folder."""

import numpy as np

from fastser.evaluation.metrics import ConditionResult
from fastser.experiment.grid import GridPoint, RunId
from fastser.experiment.store import ResultStore


def identity(key: str = "0123456789abcdef", repeat: int = 1) -> RunId:
    """Return the identity of a run."""
    return RunId(GridPoint("source", "proposed", "speed+mixup", "Ses01F", repeat), "EMO-DB", key)


def result(seed: int, classes: int = 4, utterances: int = 40) -> ConditionResult:
    """Draw predictions. `classes` is the number of classes that occur, out of 4."""
    rng = np.random.default_rng(seed)
    return ConditionResult(
        rng.dirichlet(np.ones(4), utterances).astype(np.float32),
        rng.integers(0, classes, utterances),
        [f"utterance-{n}" for n in range(utterances)],
        [f"speaker-{n % 3}" for n in range(utterances)],
    )


def save(store: ResultStore, key: str = "0123456789abcdef") -> dict[str, ConditionResult]:
    """Save the results of a run under two conditions, and return them."""
    conditions = {"clean": result(0), "noise-kitchen-10db": result(1)}
    store.save(identity(key), conditions, {"seed": 7, "wall_seconds": 1.5, "settings": {"scale": "quick"}})
    return conditions
