"""Whether a second run of the same commit on the same machine finds the same ratios."""

from collections.abc import Iterable, Sequence
from typing import Any

TOLERANCE = 0.15
"""Largest part by which the ratios of two runs may differ, of the smaller one."""

BASES = {"times_eager": "eager", "times_compile": "compile"}

Ratio = tuple[float, float | None]
"""How many times faster ours is, and the bytes per second of a large copy beside it."""


def confirmation(rows: Sequence[dict[str, Any]], again: Sequence[dict[str, Any]]) -> list[str]:
    """What a page says of a second run: how many of our ratios it confirms, and each that it does not.

    Those stand beside what a large copy reached in both runs: where that differs, it is the machine that changed.

    Args:
        rows: Benchmarks of the first run, as pytest-benchmark writes them.
        again: Those of the second; cases that only one run has are left out.
    """
    first, second = _ratios(rows), _ratios(again)
    both = [case for case in first if case in second]
    off = [case for case in both if not _agree(first[case][0], second[case][0])]
    lines = [
        f"A second run of the same commit finds {len(both) - len(off)} of {len(both)} ratios of ours to eager and to "
        f"compile within {100 * TOLERANCE:.0f} %{'; not these:' if off else '.'}"
    ]
    if off:
        lines += ["", "| ratio to | first run | second run | copy GB/s, first | second |", f"| --- {'| ---: ' * 4}|"]
        lines += [_line(case, first[case], second[case]) for case in off]
    return lines


def _ratios(rows: Iterable[dict[str, Any]]) -> dict[str, Ratio]:
    """By base and case."""
    return {
        f"{base}: {facts['operation']}, {facts['shape']}, {facts['device']}": (
            facts[name],
            facts.get("limit_bytes_per_second"),
        )
        for facts in (row["extra_info"] for row in rows)
        if facts.get("provider") == "fastser"
        for name, base in BASES.items()
        if name in facts
    }


def _agree(one: float, other: float) -> bool:
    return max(one, other) <= (1 + TOLERANCE) * min(one, other)


def _line(case: str, one: Ratio, other: Ratio) -> str:
    return f"| {case} | {one[0]:.2f} | {other[0]:.2f} | {_copy(one[1])} | {_copy(other[1])} |"


def _copy(bytes_per_second: float | None) -> str:
    return "" if bytes_per_second is None else f"{bytes_per_second / 1e9:.0f}"
