"""Whether other runs of the same commit on the same machine find the same ratios.

A machine is not always the same: on a virtual one a large copy may be twice as fast at one time as at another. Some
ratios depend on it, so those that differ stand beside the copy that was measured after them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

TOLERANCE = 0.15
"""Largest part by which the ratios, and the copies, of two runs may differ, of the smaller one."""

BASES = {"times_eager": "eager", "times_compile": "compile"}
AGREE, AGREE_ALIKE, DIFFER, DIFFER_UNLIKE = (
    "agree",
    "agree where the copy was as fast",
    "differ",
    "differ, and so did the copy",
)

Rows = Sequence[dict[str, Any]]
"""Benchmarks of a run, as pytest-benchmark writes them."""


@dataclass(frozen=True)
class Ratio:
    """How many times faster ours is, and the bytes per second of a large copy after it (0: not measured)."""

    times: float
    copy: float

    def __str__(self) -> str:
        return f"{self.times:.2f} ({self.copy / 1e9:.0f})" if self.copy else f"{self.times:.2f}"


def confirmation(rows: Rows, others: Sequence[Rows]) -> list[str]:
    """What a page says of other runs: how many of our ratios they confirm, and each that one of them does not.

    Args:
        rows: The run that the page is of.
        others: The other runs; cases that only some of them have are left out.
    """
    first, *again = (_ratios(run) for run in (rows, *others))
    shared = [case for case in first if all(case in run for run in again)]
    found = {case: _verdict(first[case], [run[case] for run in again]) for case in shared}
    count, percent = Counter(found.values()), f"{100 * TOLERANCE:.0f} %"
    lines = [
        f"Of {len(shared)} ratios of ours to eager and to compile, {count[AGREE]} are within {percent} of this run's "
        f"in all further runs of the same commit ({len(others)}), {count[AGREE_ALIKE]} more in those in which a large "
        f"copy was as fast (within {percent})."
    ]
    contradicted = [case for case in shared if found[case] != AGREE]
    if contradicted:
        titles = ["ratio to (copy, GB/s)", "this run", *["further run"] * len(again), "the runs"]
        lines += ["", f"| {' | '.join(titles)} |", f"| --- {'| ---: ' * (len(titles) - 2)}| --- |"]
        for case in contradicted:
            lines.append(f"| {case} | {' | '.join(str(run[case]) for run in (first, *again))} | {found[case]} |")
    return lines


def _ratios(rows: Iterable[dict[str, Any]]) -> dict[str, Ratio]:
    """By base and case."""
    return {
        f"{base}: {facts['operation']}, {facts['shape']}, {facts['device']}": Ratio(
            facts[name], facts.get("limit_bytes_per_second", 0.0)
        )
        for facts in (row["extra_info"] for row in rows)
        if facts.get("provider") == "fastser"
        for name, base in BASES.items()
        if name in facts
    }


def _verdict(ratio: Ratio, others: Sequence[Ratio]) -> str:
    if all(_agree(ratio.times, other.times) for other in others):
        return AGREE
    alike = [other for other in others if _agree(ratio.copy, other.copy)]
    if not alike:
        return DIFFER_UNLIKE
    return AGREE_ALIKE if all(_agree(ratio.times, other.times) for other in alike) else DIFFER


def _agree(one: float, other: float) -> bool:
    return max(one, other) <= (1 + TOLERANCE) * min(one, other)
