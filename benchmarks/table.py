"""Page of Markdown tables from saved runs: `python -m benchmarks.table RUN.json [--repeats RUN.json ...]`.

`pytest benchmarks --benchmark-only --benchmark-json=RUN.json` saves a run.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.repeatability import repeatability

COMMAND = "pytest benchmarks --benchmark-only --benchmark-json=RUN.json && python -m benchmarks.table RUN.json"

Row = dict[str, Any]
"""Benchmark of a saved run, as pytest-benchmark writes it."""


def _scaled(value: float | None, units: Sequence[tuple[float, str]]) -> str:
    """Return a value with three digits in the largest unit that it reaches: 0.00234 s is "2.34 ms"."""
    if value is None:
        return ""
    size, unit = next(((size, unit) for size, unit in units if value >= size), units[-1])
    return f"{value / size:.3g} {unit}"


def seconds(value: float) -> str:
    """Return a duration as text."""
    if value >= 100:
        return f"{value / 60:.1f} min"
    return _scaled(value, [(1.0, "s"), (1e-3, "ms"), (1e-6, "us")])


def megabytes(value: int | None) -> str:
    """Return a size in MB, or an empty text for None."""
    return "" if value is None else f"{value / 1e6:.3g}"


def _time(row: Row) -> str:
    info, stats = row["extra_info"], row["stats"]
    spread = f" [{seconds(info['p20'])}, {seconds(info['p80'])}]" if "p20" in info else ""
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
    "x eager, repeated runs": lambda row: ", ".join(
        "-" if times is None else format(times, ".2f") for times in row["extra_info"].get("repeats", [])
    ),
    "x eager float32": _number("times_eager_float32", ".2f"),
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
"""Columns by title, each with the function that makes its cell. A column without any content is left out of a table."""

NOTES = """
- Times are medians over rounds. In each round all providers take turns.
- `x eager` and `x compile` are speedups over eager and compiled PyTorch in the dtype of the case: medians of the ratios
  of all rounds. Above 1, the provider is faster. `x eager float32` is the speedup of a bfloat16 case over float32.
- `x eager, repeated runs` are the speedups over eager in repeated runs of the same commit.
- `GB/s` and `GFLOP/s` are the bytes and FLOPs that the operation *must* move and do (`ideal_bytes` and `ideal_flops`
  beside each kernel), divided by the median.
- `% of limit` compares the operation with a large copy (by bytes) and the fastest arithmetic (by FLOPs) that were
  measured in the same process. The larger share is shown.
- `peak MB` is the most memory that a call holds at one time. `saved MB` is the size of the tensors that its forward
  pass saves for the backward pass.
- `first call` includes compilation.
- A provider whose result is further from float64 than allowed gets no time.
- On a CPU all processes keep the memory that they free, as the main job does.
"""


def table(rows: Sequence[Row]) -> list[str]:
    """Return the rows of one case as a Markdown table, without empty columns."""
    cells = {title: [cell(row) for row in rows] for title, cell in COLUMNS.items()}
    shown = {title: column for title, column in cells.items() if any(column)}
    lines = [f"| {' | '.join(shown)} |", f"| --- {'| ---: ' * (len(shown) - 1)}|"]
    return lines + [f"| {' | '.join(row)} |" for row in zip(*shown.values(), strict=True)]


def _with_repeats(row: Row, repeats: Sequence[dict[str, Any]]) -> Row:
    """Return the row with its speedups over eager in repeated runs."""
    if "times_eager" not in row["extra_info"]:
        return row
    times = [
        next((of["extra_info"]["times_eager"] for of in run["benchmarks"] if of["name"] == row["name"]), None)
        for run in repeats
    ]
    return {**row, "extra_info": {**row["extra_info"], "repeats": times}}


def _shape(row: Row) -> str:
    info = row["extra_info"]
    return f"{info['shape']}, {info['device']}" if "shape" in info else ""


def _without(rows: Iterable[Row]) -> list[str]:
    reasons = {name: reason for row in rows for name, reason in row["extra_info"].get("without", {}).items()}
    return [f"Without {name}: {reason}." for name, reason in reasons.items()]


def page(runs: Sequence[dict[str, Any]], repeats: Sequence[dict[str, Any]] = ()) -> str:
    """Return a page for runs of one machine and commit.

    Args:
        runs: Saved runs that together hold each case once.
        repeats: Repeated runs of the same cases, with which the page compares them.

    Raises:
        ValueError: If the runs were not made on the same machine and commit.
    """
    machine, commit = runs[0]["machine_info"], runs[0]["commit_info"]
    for run in [*runs[1:], *repeats]:
        if run["machine_info"] != machine:
            raise ValueError("the runs are from different machines, versions or commits, which need a page each")
    lines = [
        f"# {machine['machine']}, {runs[0]['datetime'][:10]}",
        "",
        *(f"- {name}: {text}" for name, text in machine.items() if name != "machine"),
        f"- date of the commit: {str(commit.get('time'))[:10]}",
        f"- command: `{COMMAND}{' --repeats REPEAT.json ...' if repeats else ''}`",
        NOTES,
    ]
    rows = [_with_repeats(row, repeats) for run in runs for row in run["benchmarks"]]
    lines += _limits(rows)
    lines += ["", *repeatability(rows, [run["benchmarks"] for run in repeats])] if repeats else []
    rows.sort(key=lambda row: not row["extra_info"].get("operation"))
    for operation, of_operation in groupby(rows, key=lambda row: row["extra_info"].get("operation", "other")):
        lines += ["", f"## {operation[0].upper()}{operation[1:]}"]
        for shape, of_case in groupby(of_operation, key=_shape):
            case = list(of_case)
            lines += ["", *([f"{shape}:", ""] if shape else []), *table(case)]
            lines += ["", *_without(case)] if _without(case) else []
    return "\n".join(lines) + "\n"


def _limits(rows: Iterable[Row]) -> list[str]:
    """Return the smallest and the largest of each limit. Every case measures its own."""
    lines = []
    for title, name in (("copy", "limit_bytes_per_second"), ("arithmetic", "limit_flops_per_second")):
        values = sorted({row["extra_info"][name] for row in rows if name in row["extra_info"]})
        if values:
            unit = "GB/s" if title == "copy" else "GFLOP/s"
            lines.append(f"Limit, {title}: {values[0] / 1e9:.3g} to {values[-1] / 1e9:.3g} {unit} over all cases.")
    return lines


def main() -> int:
    """Print the page of the runs on the command line. Return the exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks.table", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN.json", help="saved runs of one machine and commit")
    parser.add_argument(
        "--repeats", nargs="+", default=[], metavar="RUN.json", help="repeated runs, to compare the speedups"
    )
    arguments = parser.parse_args()
    paths = [*arguments.runs, *arguments.repeats]
    try:
        runs = [json.loads(Path(path).read_text()) for path in paths]
        count = len(arguments.runs)
        print(page(runs[:count], runs[count:]), end="")
    except (OSError, ValueError, KeyError) as error:
        advice = "give files that pytest --benchmark-json wrote"
        print(f"cannot make a page of {' '.join(paths)}: {error}; {advice}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
