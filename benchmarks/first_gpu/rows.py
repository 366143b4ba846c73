"""Rows of the measurements, and the file that collects them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One measured time.

    Attributes:
        stage: Name of the stage, "self-tests", "steps" or "operations".
        title: What was computed, at which shape.
        provider: Who computed it, "fastser", "eager" or "compile".
        seconds: Median time, or None if it failed.
        predicted: Predicted time on this chip, or None if there is no prediction.
        limit: Share of the machine's limit that was reached, in percent, or None.
        fault: Reason why there is no time, or an empty text.
    """

    stage: str
    title: str
    provider: str
    seconds: float | None
    predicted: float | None = None
    limit: float | None = None
    fault: str = ""


def append(folder: Path, row: Row) -> None:
    """Append a row to the file of its stage, and print it."""
    with (folder / f"{row.stage}.jsonl").open("a") as file:
        file.write(json.dumps(asdict(row)) + "\n")
    print(f"{row.title}; {row.provider}: {row.fault or f'{1000 * (row.seconds or 0.0):.3f} ms'}", flush=True)


def read(folder: Path, stages: Sequence[str]) -> list[Row]:
    """Return the rows of some stages, those that were measured before a stage was cut off."""
    files = [folder / f"{stage}.jsonl" for stage in stages]
    return [Row(**json.loads(line)) for file in files if file.exists() for line in file.read_text().splitlines()]
