"""Options of pytest for benchmarks, the provenance in a saved run, and the speedups printed at its end."""

from typing import Any

import pytest
import torch

from fastser.runtime.provenance import environment


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole-main-job", action="store_true", help="also benchmark all 80 runs of the main job")


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    machine_info.clear()
    machine_info |= environment("cuda" if torch.cuda.is_available() else "cpu")


def pytest_benchmark_update_commit_info(commit_info: dict[str, Any]) -> None:
    kept = {name: commit_info.get(name) for name in ("id", "time", "dirty")}
    commit_info.clear()
    commit_info |= kept


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    """Remove fields that describe this process only."""
    for row in output_json["benchmarks"]:
        for name in ("params", "param", "options", "fullname"):
            del row[name]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the speedup of fastser over each other provider, by case."""
    medians: dict[str, dict[str, float]] = {}
    for benchmark in config._benchmarksession.benchmarks:  # type: ignore[attr-defined]
        if "provider" in benchmark.extra_info:
            medians.setdefault(benchmark.group, {})[benchmark.extra_info["provider"]] = benchmark.stats.median
    if not medians:
        return
    terminalreporter.section("speedup of fastser over other providers (ratio of medians)")
    for group, by_provider in medians.items():
        if "fastser" in by_provider:
            others = {
                name: median / by_provider["fastser"] for name, median in by_provider.items() if name != "fastser"
            }
            ratios = ", ".join(f"{ratio:.2f} x {name}" for name, ratio in others.items())
            terminalreporter.line(f"{group}: {ratios or 'no other provider runs here'}")
