"""Whether a second run of the same commit on the same machine finds the same ratios."""

from collections.abc import Iterable, Sequence
from typing import Any

TOLERANCE = 0.15
"""Largest part by which the ratios of two runs may differ, of the smaller one."""

BASES = {"times_eager": "eager", "times_compile": "compile"}


def confirmation(rows: Sequence[dict[str, Any]], again: Sequence[dict[str, Any]]) -> list[str]:
    """What a page says of a second run: how many of our ratios it confirms, and each that it does not.

    Args:
        rows: Benchmarks of the first run, as pytest-benchmark writes them.
        again: Those of the second; cases that only one run has are left out.
    """
    first, second = _ratios(rows), _ratios(again)
    both = [case for case in first if case in second]
    off = [case for case in both if not _agree(first[case], second[case])]
    lines = [
        f"A second run of the same commit finds {len(both) - len(off)} of {len(both)} ratios of ours to eager and to "
        f"compile within {100 * TOLERANCE:.0f} %{'; not these:' if off else '.'}"
    ]
    if off:
        lines += ["", "| ratio to | first run | second run |", "| --- | ---: | ---: |"]
        lines += [f"| {case} | {first[case]:.2f} | {second[case]:.2f} |" for case in off]
    return lines


def _ratios(rows: Iterable[dict[str, Any]]) -> dict[str, float]:
    """How many times faster ours is, by base and case."""
    return {
        f"{base}: {facts['operation']}, {facts['shape']}, {facts['device']}": facts[name]
        for facts in (row["extra_info"] for row in rows)
        if facts.get("provider") == "fastser"
        for name, base in BASES.items()
        if name in facts
    }


def _agree(one: float, other: float) -> bool:
    return max(one, other) <= (1 + TOLERANCE) * min(one, other)
