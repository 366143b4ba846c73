"""Robustness of anybody's model: tests under noise, attacks and small changes, and what they show with intervals."""

from fastser.evaluation.further_conditions import RobustnessSettings
from fastser.robustness.evaluation import evaluate
from fastser.robustness.protocol import Part, protocol
from fastser.robustness.result import Comparison, Evaluation

__all__ = ["Comparison", "Evaluation", "Part", "RobustnessSettings", "evaluate", "protocol"]
