"""Types of the models that the tests of recognition keep."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastser.evaluation.metrics import ConditionResult


@dataclass(frozen=True)
class Kept:
    """A kept model: its file, its test files by id, and the posteriors that the grid has recorded."""

    file: Path
    audio: dict[str, Path]
    recorded: ConditionResult


Keep = Callable[..., Kept]
"""Trains a model with some settings and keeps it."""
