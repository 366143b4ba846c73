"""Tasks: the corpora that a model is trained and tested on (paper 5)."""

from dataclasses import dataclass
from typing import Literal

from fastser.runtime.registry import Registry

Role = Literal["source", "target"]
"""Part that a speech corpus plays."""


@dataclass(frozen=True, slots=True)
class Task:
    """Corpora that a model is trained and tested on.

    Attributes:
        name: Name in results, "cross".
        trains_on: Role of the training corpus.
        tests_on: Role of the corpus of validation and test set.
        title: Beginning of the line that describes it, before the corpus.
        undisturbed: Name of the condition without noise and attack.
    """

    name: str
    trains_on: Role
    tests_on: Role
    title: str
    undisturbed: str = "clean"

    @property
    def roles(self) -> tuple[Role, ...]:
        """Roles of the corpora that the task takes."""
        return (self.trains_on,) if self.trains_on == self.tests_on else (self.trains_on, self.tests_on)

    @property
    def leaves_one_speaker_out(self) -> bool:
        """Whether models are trained and tested on speakers of one corpus."""
        return self.trains_on == self.tests_on


TASKS = Registry(
    "task",
    [
        Task("source", "source", "source", "leave-one-speaker-out on"),
        Task("target", "target", "target", "leave-one-speaker-out on"),
        Task("cross", "source", "target", "across corpora,", undisturbed="cross-corpus"),
    ],
)
"""The tasks, in the order in which they are run."""
