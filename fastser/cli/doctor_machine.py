"""Findings about this machine: versions, device, precision, cache, disk. Kernels have a section of their own."""

import os
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from fastser.data.examination.finding import Finding
from fastser.report.doctor_page import Section, Table
from fastser.runtime.files import cache_dir
from fastser.runtime.provenance import environment
from fastser.settings import SCALES, Settings
from fastser.training.precision import describe, with_chosen_precision

_LITTLE_DISK_GB = 10.0
"""Free space that is warned of. The 12 hours of IEMOCAP at paper scale are 2.8 GB of samples, and 2.2 GB of
spectrograms at each of three speeds."""


def machine_section(settings: Settings, device: torch.device) -> Section:
    """Examine the machine, without tests that take time.

    Args:
        settings: Settings of the runs, which decide about the precision.
        device: Device of the models.
    """
    facts = environment(str(device))
    versions = {"python": facts["python"], "torch": facts["torch"], "triton": _triton()}
    versions |= {name: facts[name] for name in ("numpy", "fastser", "commit", "machine", "device")}
    findings = (
        Finding("ok", f"fastser {facts['fastser']}, commit {facts['commit']}, Python {facts['python']}"),
        Finding("ok", f"torch {facts['torch']}, Triton {versions['triton']}"),
        Finding("ok", f"device: {facts['device']}; {facts['machine']}; precision: {_precisions(settings, device)}"),
        *_disk(),
    )
    return Section("This machine", findings, (Table("Versions", ("", ""), tuple(versions.items())),))


def _precisions(settings: Settings, device: torch.device) -> str:
    """Return the precision of the settings, and that of other scales where it differs."""
    own = describe(with_chosen_precision(settings, device))
    others: dict[str, list[str]] = {}
    for name, scale in SCALES.items():
        if name == settings.scale:
            continue
        training = scale.training.model_copy(update={"precision": settings.training.precision})
        alike = scale.model_copy(update={"training": training, "evaluation": settings.evaluation})
        said = describe(with_chosen_precision(alike, device))
        if said != own:
            others.setdefault(said, []).append(name)
    if not others:
        return own
    listed = (f", {said} at scale {' and '.join(names)}" for said, names in others.items())
    return f"{own} at scale {settings.scale}{''.join(listed)}"


def _triton() -> str:
    try:
        return version("triton")
    except PackageNotFoundError:
        return "not installed"


def _disk() -> list[Finding]:
    """Return findings about the cache folder and the free space."""
    folder = cache_dir()
    size, free = _bytes_below(folder) / 1e9, shutil.disk_usage(folder).free / 1e9
    findings = [Finding("ok", f"cache: {folder}, {size:.2f} GB ($FASTSER_CACHE names another folder)")]
    if free < _LITTLE_DISK_GB:
        said = f"only {free:.1f} GB are free on the disk of the cache; large corpora need more"
        return [*findings, Finding("warning", said)]
    return [*findings, Finding("ok", f"{free:.0f} GB are free on the disk of the cache")]


def _bytes_below(folder: Path) -> int:
    """Return the size of all files below a folder. Files that vanish meanwhile count as nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).lstat().st_size
            except OSError:
                continue
    return total
