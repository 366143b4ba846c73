"""Condition: one way in which a trained model is tested."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from fastser.evaluation.trial import Trial
from fastser.settings import Settings


@dataclass(frozen=True, slots=True)
class Cost:
    """Work per test segment: forward passes, and steps of an attack (forward pass and input gradient)."""

    forward_passes: int = 1
    attack_steps: int = 0


class Condition(ABC):
    """One way of testing a trained model. Conditions are hashable: a `Trial` computes each one once."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in results, "noise-10db"."""

    @property
    def title(self) -> str:
        """Title in column headers, "10 dB". An empty title leaves the header to the table's name."""
        return self.name

    @property
    def level(self) -> float | None:
        """Level of the disturbance, such as the SNR in dB, or None. A lower level is harder."""
        return None

    @property
    def level_name(self) -> str:
        """Name of the level on the axis of a chart, "SNR"."""
        return "level"

    @property
    def is_computed(self) -> bool:
        """Whether the condition has batches of its own. False if it combines the results of other conditions."""
        return True

    def cost(self, settings: Settings) -> Cost:  # noqa: ARG002
        """Return the work per test segment."""
        return Cost()

    @abstractmethod
    def posteriors(self, trial: Trial) -> Tensor:
        """Return the model's posteriors under this condition, [utterances, classes]."""
