"""Repeatability: whether repeated runs of the same commit on the same machine find the same speedups.

A machine is not always equally fast. On a virtual one, a large copy may take half as long at one time as at another,
and some speedups depend on it. A page therefore shows each speedup that a repeated run contradicts beside the speed of
the copy that was measured after it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

TOLERANCE = 0.15
"""Largest relative difference between the speedups, and between the copy speeds, of two runs that agree."""

BASES = {"times_eager": "eager", "times_compile": "compile"}
AGREE, AGREE_AT_EQUAL_COPY, DIFFER, DIFFER_WITH_COPY = (
    "agree",
    "agree at equal copy speed",
    "differ",
    "differ, as the copy speed does",
)

Rows = Sequence[dict[str, Any]]
"""Benchmarks of a run, as pytest-benchmark writes them."""


@dataclass(frozen=True)
class Speedup:
    """Speedup of fastser over a base, and the speed of a large copy in bytes per second (0: not measured)."""

    times: float
    copy: float

    def __str__(self) -> str:
        return f"{self.times:.2f} ({self.copy / 1e9:.0f})" if self.copy else f"{self.times:.2f}"


def repeatability(rows: Rows, repeats: Sequence[Rows]) -> list[str]:
    """Return the lines of a page that compare a run with repeated runs.

    They count the speedups that agree, and list each one that a repeated run contradicts.

    Args:
        rows: Run that the page shows.
        repeats: Repeated runs. Cases that are not in all of them are left out.
    """
    first, *again = (_speedups(run) for run in (rows, *repeats))
    shared = [case for case in first if all(case in run for run in again)]
    verdicts = {case: _verdict(first[case], [run[case] for run in again]) for case in shared}
    count, percent = Counter(verdicts.values()), f"{100 * TOLERANCE:.0f} %"
    lines = [
        f"Of {len(shared)} speedups over eager and compile, {count[AGREE]} are within {percent} of this run's in all "
        f"repeated runs ({len(repeats)}). {count[AGREE_AT_EQUAL_COPY]} more agree in the repeated runs whose copy was "
        f"as fast (within {percent})."
    ]
    contradicted = [case for case in shared if verdicts[case] != AGREE]
    if contradicted:
        titles = ["speedup over (copy, GB/s)", "this run", *["repeated run"] * len(again), "verdict"]
        lines += ["", f"| {' | '.join(titles)} |", f"| --- {'| ---: ' * (len(titles) - 2)}| --- |"]
        for case in contradicted:
            lines.append(f"| {case} | {' | '.join(str(run[case]) for run in (first, *again))} | {verdicts[case]} |")
    return lines


def _speedups(rows: Iterable[dict[str, Any]]) -> dict[str, Speedup]:
    """Return the speedups of a run by base and case."""
    return {
        f"{base}: {info['operation']}, {info['shape']}, {info['device']}": Speedup(
            info[name], info.get("limit_bytes_per_second", 0.0)
        )
        for info in (row["extra_info"] for row in rows)
        if info.get("provider") == "fastser"
        for name, base in BASES.items()
        if name in info
    }


def _verdict(speedup: Speedup, repeats: Sequence[Speedup]) -> str:
    if all(_agree(speedup.times, repeat.times) for repeat in repeats):
        return AGREE
    at_equal_copy = [repeat for repeat in repeats if _agree(speedup.copy, repeat.copy)]
    if not at_equal_copy:
        return DIFFER_WITH_COPY
    agree = all(_agree(speedup.times, repeat.times) for repeat in at_equal_copy)
    return AGREE_AT_EQUAL_COPY if agree else DIFFER


def _agree(one: float, other: float) -> bool:
    return max(one, other) <= (1 + TOLERANCE) * min(one, other)
