"""What a saved run says about where it was made."""

from typing import Any

import torch

from fastser.environment import environment


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    machine_info.clear()
    machine_info |= environment("cuda" if torch.cuda.is_available() else "cpu")


def pytest_benchmark_update_commit_info(commit_info: dict[str, Any]) -> None:
    kept = {name: commit_info.get(name) for name in ("id", "time", "dirty")}
    commit_info.clear()
    commit_info |= kept
