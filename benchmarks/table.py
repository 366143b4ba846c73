"""Saved runs as one page of Markdown tables.

Make the run with `pytest benchmarks --benchmark-only --benchmark-json=RUN.json`, and others for `--again`.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.confirmation import confirmation

COMMAND = "pytest benchmarks --benchmark-only --benchmark-json=RUN.json && python -m benchmarks.table RUN.json"

Row = dict[str, Any]
"""One benchmark of a saved run, as pytest-benchmark writes it."""


def _scaled(value: float | None, units: Sequence[tuple[float, str]]) -> str:
    """A number of at least one unit, with three digits: 0.00234 s is "2.34 ms"."""
    if value is None:
        return ""
    size, unit = next(((size, unit) for size, unit in units if value >= size), units[-1])
    return f"{value / size:.3g} {unit}"


def seconds(value: float) -> str:
    """A duration as it is read in a table."""
    if value >= 100:
        return f"{value / 60:.1f} min"
    return _scaled(value, [(1.0, "s"), (1e-3, "ms"), (1e-6, "us")])


def megabytes(value: int | None) -> str:
    """A size in MB; nothing for None."""
    return "" if value is None else f"{value / 1e6:.3g}"


def _time(row: Row) -> str:
    facts, stats = row["extra_info"], row["stats"]
    spread = f" [{seconds(facts['p20'])}, {seconds(facts['p80'])}]" if "p20" in facts else ""
    return f"{seconds(stats['median'])}{spread}, {stats['rounds']}"


def _number(name: str, form: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value = row["extra_info"].get(name)
        return format(value, form) if value else ""

    return cell


def _per_second(name: str) -> Callable[[Row], str]:
    return lambda row: format(row["extra_info"].get(name, 0) / 1e9, ".3g") if row["extra_info"].get(name) else ""


COLUMNS: dict[str, Callable[[Row], str]] = {
    "provider": lambda row: row["extra_info"].get("provider", row["name"].removeprefix("test_").replace("_", " ")),
    "median [p20, p80], rounds": _time,
    "x eager": _number("times_eager", ".2f"),
    "in further runs": lambda row: ", ".join(
        "-" if times is None else format(times, ".2f") for times in row["extra_info"].get("again", [])
    ),
    "x compile": _number("times_compile", ".2f"),
    "GB/s": _per_second("bytes_per_second"),
    "GFLOP/s": _per_second("flops_per_second"),
    "% of limit": _number("percent_of_limit", ".0f"),
    "peak MB": lambda row: megabytes(row["extra_info"].get("peak_bytes")),
    "saved MB": lambda row: megabytes(row["extra_info"].get("saved_bytes")),
    "launches": _number("launches", "d"),
    "first call": lambda row: (
        seconds(row["extra_info"]["first_call_seconds"]) if "first_call_seconds" in row["extra_info"] else ""
    ),
}
"""Every column and what it shows of a row. A column that is empty for a whole table is left out."""

NOTES = """
Times are medians over rounds in which all providers take turns; `x eager` and `x compile` are medians, over the rounds,
of how many times faster than these a provider was in the same round (above 1: faster); `in further runs` are those to
eager in other runs of the same commit. GB/s and GFLOP/s are what the operation *must* move and do (functions
`ideal_bytes`, `ideal_flops` beside each kernel) over the median; `% of limit` is the larger of both shares of what a
large copy and a large matrix product reached in the same process. `peak MB` is what a call allocates at once; `saved
MB` what its forward pass keeps for the backward pass; `first call` includes compilation. A provider whose result is
further from float64 than allowed gets no time. On a CPU all processes keep the memory that they free, as the main job
does.
"""


def table(rows: Sequence[Row]) -> list[str]:
    """The rows of one case as a Markdown table, without empty columns."""
    cells = {title: [cell(row) for row in rows] for title, cell in COLUMNS.items()}
    shown = {title: column for title, column in cells.items() if any(column)}
    lines = [f"| {' | '.join(shown)} |", f"| --- {'| ---: ' * (len(shown) - 1)}|"]
    return lines + [f"| {' | '.join(row)} |" for row in zip(*shown.values(), strict=True)]


def _with_further_runs(row: Row, again: Sequence[dict[str, Any]]) -> Row:
    """The row with its ratio to eager in other runs."""
    if "times_eager" not in row["extra_info"]:
        return row
    times = [
        next((of["extra_info"]["times_eager"] for of in run["benchmarks"] if of["name"] == row["name"]), None)
        for run in again
    ]
    return {**row, "extra_info": {**row["extra_info"], "again": times}}


def _shape(row: Row) -> str:
    facts = row["extra_info"]
    return f"{facts['shape']}, {facts['device']}" if "shape" in facts else ""


def _without(rows: Iterable[Row]) -> list[str]:
    reasons = {name: reason for row in rows for name, reason in row["extra_info"].get("without", {}).items()}
    return [f"Without {name}: {reason}." for name, reason in reasons.items()]


def page(runs: Sequence[dict[str, Any]], again: Sequence[dict[str, Any]] = ()) -> str:
    """One page for several runs of the same machine and commit.

    Args:
        runs: What was measured, each case once.
        again: Further runs of the same cases, of which the page says how far they confirm it.

    Raises:
        ValueError: If the runs were not made on the same machine and commit.
    """
    machine, commit = runs[0]["machine_info"], runs[0]["commit_info"]
    for run in [*runs[1:], *again]:
        if run["machine_info"] != machine:
            raise ValueError("the runs were made on different machines, versions or commits: make one page of each")
    lines = [
        f"# {machine['machine']}, {runs[0]['datetime'][:10]}",
        "",
        *(f"- {name}: {text}" for name, text in machine.items() if name != "machine"),
        f"- date of the commit: {str(commit.get('time'))[:10]}",
        f"- command: `{COMMAND}{' --again OTHER.json ...' if again else ''}`",
        NOTES,
    ]
    rows = [_with_further_runs(row, again) for run in runs for row in run["benchmarks"]]
    lines += _limits(rows)
    lines += ["", *confirmation(rows, [run["benchmarks"] for run in again])] if again else []
    rows.sort(key=lambda row: not row["extra_info"].get("operation"))
    for operation, of_operation in groupby(rows, key=lambda row: row["extra_info"].get("operation", "other")):
        lines += ["", f"## {operation[0].upper()}{operation[1:]}"]
        for shape, of_case in groupby(of_operation, key=_shape):
            case = list(of_case)
            lines += ["", *([f"{shape}:", ""] if shape else []), *table(case)]
            lines += ["", *_without(case)] if _without(case) else []
    return "\n".join(lines) + "\n"


def _limits(rows: Iterable[Row]) -> list[str]:
    """The limits that the rows were held against: smallest and largest, since each case measures its own."""
    lines = []
    for title, name in (("copy", "limit_bytes_per_second"), ("matrix product", "limit_flops_per_second")):
        values = sorted({row["extra_info"][name] for row in rows if name in row["extra_info"]})
        if values:
            unit = "GB/s" if title == "copy" else "GFLOP/s"
            lines.append(f"Limits, {title}: {values[0] / 1e9:.3g} to {values[-1] / 1e9:.3g} {unit} over the cases.")
    return lines


def main() -> int:
    """Print the page of the runs named on the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.table", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN.json", help="saved runs of one machine and commit")
    parser.add_argument(
        "--again", nargs="+", default=[], metavar="RUN.json", help="further runs: say what they confirm"
    )
    arguments = parser.parse_args()
    paths = [*arguments.runs, *arguments.again]
    try:
        runs, again = ([json.loads(Path(path).read_text()) for path in of] for of in (arguments.runs, arguments.again))
        print(page(runs, again), end="")
    except (OSError, ValueError, KeyError) as error:
        print(f"{' '.join(paths)}: not runs that a page can be made of ({error})", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
