"""Page of the first measurements: what passed, and measured times beside predicted ones."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.first_gpu.rows import Row, read
from benchmarks.table import seconds
from fastser.runtime.provenance import environment

STAGES = "self-tests", "steps", "operations"
"""Stages that measure times."""


def results(folder: Path, device: str) -> dict[str, Any]:
    """Return everything that was measured, as plain values.

    Args:
        folder: Folder of the stages' files.
        device: Name of the device.
    """
    stages = [line.split("\t") for line in (folder / "stages.tsv").read_text().splitlines()]
    return {
        "environment": environment(device),
        "stages": [{"name": name, "status": int(status), "seconds": int(took)} for name, status, took in stages],
        "rows": [asdict(row) for row in read(folder, STAGES)],
    }


def page(measured: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    machine = ", ".join(f"{name} {value}" for name, value in measured["environment"].items())
    lines = ["# First minutes on a device", "", machine, "", "| stage | outcome | seconds |", "| --- | --- | ---: |"]
    lines += [f"| {stage['name']} | {_outcome(stage['status'])} | {stage['seconds']} |" for stage in measured["stages"]]
    head = "| row | provider | measured | predicted | measured / predicted | x eager | % of limit |"
    lines += ["", head, "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    rows = [Row(**row) for row in measured["rows"]]
    eager = {row.title: row.seconds for row in rows if row.provider == "eager"}
    lines += [_line(row, eager.get(row.title)) for row in rows]
    lines += ["", "Predicted times come from `benchmarks/predicted` and assume that every kernel reaches its limit."]
    return "\n".join(lines) + "\n"


def _outcome(status: int) -> str:
    if status == 0:
        return "passed"
    return "cut off at its time limit" if status in (124, 137) else f"failed, exit status {status}: see its log"


def _line(row: Row, eager: float | None) -> str:
    if row.seconds is None:
        return f"| {row.title} | {row.provider} | {row.fault} | | | | |"
    predicted = seconds(row.predicted) if row.predicted else ""
    ratio = f"{row.seconds / row.predicted:.2f}" if row.predicted else ""
    speedup = f"{eager / row.seconds:.2f}" if eager else ""
    share = f"{row.limit:.0f}" if row.limit else ""
    return f"| {row.title} | {row.provider} | {seconds(row.seconds)} | {predicted} | {ratio} | {speedup} | {share} |"
