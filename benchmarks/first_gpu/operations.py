"""Stage "operations": fastser's operations against eager PyTorch, torch.compile and the limits of the machine."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.case import Case, Workload
from benchmarks.cases import all_cases
from benchmarks.first_gpu.rows import Row, append
from benchmarks.gate import WrongResultError
from benchmarks.measurement import Measurement, measure
from benchmarks.predicted.chips import chip_named
from benchmarks.predicted.record import work_on_device
from benchmarks.predicted.work import total_seconds

LEFT_OUT_PROVIDERS = {
    "cuda": ("compile-max-autotune",),
    "cpu": ("compile", "compile-max-autotune", "librosa", "torchaudio"),
}
"""Providers that take too long to start, by type of device."""

LEFT_OUT_GROUPS = ("training step", "BIM", "evaluation", "corpus")
"""Beginnings of the groups that are no single operation, or that the stage "steps" measures."""


def measure_operations(folder: Path, device: torch.device, limit: int | None) -> None:
    """Measure the operations at the models' shapes.

    Args:
        folder: Folder of the rows.
        device: Device of the tensors.
        limit: Largest number of cases, or None for all.
    """
    cases = [case for case in all_cases() if device.type in case.devices and not case.group.startswith(LEFT_OUT_GROUPS)]
    for case in cases[:limit]:
        title = f"{case.group}, {case.shape}"
        try:
            rows = measure(_quick(case), device)
            predicted = _predictions(case, device)
        except Exception as error:  # whatever a kernel does on a new chip is a result of this stage
            append(folder, Row("operations", title, "all", None, fault=f"{type(error).__name__}: {error}"))
            continue
        for provider, row in rows.items():
            if isinstance(row, WrongResultError):
                append(folder, Row("operations", title, provider, None, fault=str(row)))
            if not isinstance(row, Measurement):
                continue
            share = row.extra_info.get("percent_of_limit")
            append(folder, Row("operations", title, provider, median(row.seconds), predicted.get(provider), share))


def _quick(case: Case) -> Case:
    """Return the case without its slow providers."""

    def build(device: torch.device) -> Workload:
        workload, without = case.build(device), LEFT_OUT_PROVIDERS[device.type]
        kept = {name: provider for name, provider in workload.providers.items() if name not in without}
        missing = {name: reason for name, reason in workload.missing.items() if name not in without}
        return replace(workload, providers=kept, missing=missing)

    return replace(case, build=build)


def _predictions(case: Case, device: torch.device) -> dict[str, float]:
    """Return the predicted seconds by provider, of those whose work can be counted, on a known chip."""
    chip = chip_named(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    if chip is None:
        return {}
    workload = case.build(device)
    inputs: Sequence[Any] = workload.inputs()
    calls: dict[str, Callable[[], object]] = {
        name: workload.providers[name](*inputs) for name in ("eager", "fastser") if name in workload.providers
    }
    return {name: total_seconds(work_on_device(call), chip, in_graph=True) for name, call in calls.items()}
