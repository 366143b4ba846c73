"""Command that prints the page: `python -m benchmarks.predicted [--write]`."""

import argparse
import json
from dataclasses import astuple
from pathlib import Path

from benchmarks.predicted.page import page
from benchmarks.predicted.paper import all_paces
from fastser.experiment.estimate import Pace
from fastser.experiment.predicted_hours import PACES

PAGE = Path(__file__).parents[1] / "results" / "predicted.md"
DIGITS = 3
"""Significant digits of the paces. More would say that they are known better, and change with every kernel."""


def rounded(pace: Pace) -> list[float]:
    """Return the rounded seconds of a pace: training step, forward pass, attack step."""
    return [float(f"{value:.{DIGITS}g}") for value in astuple(pace)]


def paces_text() -> str:
    """Return the predicted seconds per segment as the text of the file that `--dry-run` reads."""
    values = {
        scale: {chip: {model: rounded(pace) for model, pace in models.items()} for chip, models in chips.items()}
        for scale, chips in all_paces().items()
    }
    return json.dumps(values, indent=1) + "\n"


def main() -> None:
    """Print the page, or write it and the paces into the checkout."""
    parser = argparse.ArgumentParser("python -m benchmarks.predicted", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"rewrite {PAGE.name} and {PACES.name}")
    if parser.parse_args().write:
        PAGE.write_text(page())
        PACES.write_text(paces_text())
    else:
        print(page(), end="")


if __name__ == "__main__":
    main()
