"""Findings about this machine: versions, device, kernels and their self-tests, cache, disk."""

import os
import shutil
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from fastser_kernels.chips import runs_kernels
from fastser_kernels.native.library import native
from fastser_kernels.trust.verdict import Verdict

from fastser.data.examination.finding import Finding
from fastser.experiment.kernel_choice import kernel_verdicts
from fastser.models import MODELS
from fastser.report.doctor_page import Section, Table
from fastser.runtime.files import cache_dir
from fastser.runtime.provenance import environment
from fastser.settings import SCALES, Settings
from fastser.training.precision import describe, with_chosen_precision

_LITTLE_DISK_GB = 10.0
"""Free space that is warned of. The 12 hours of IEMOCAP at paper scale are 2.8 GB of samples, and 2.2 GB of
spectrograms at each of three speeds."""


def machine_section(settings: Settings, device: torch.device, on_test: Callable[[str], None]) -> Section:
    """Examine the machine.

    Args:
        settings: Settings of the runs, which give the sizes of the self-tests.
        device: Device of the models.
        on_test: Called with the name of an operation before its test.
    """
    facts = environment(str(device))
    versions = {"python": facts["python"], "torch": facts["torch"], "triton": _triton()}
    versions |= {name: facts[name] for name in ("numpy", "fastser", "commit", "machine", "device")}
    chosen = with_chosen_precision(settings, device)
    precisions = _precisions(chosen, settings, device)
    findings = [
        Finding("ok", f"fastser {facts['fastser']}, commit {facts['commit']}, Python {facts['python']}"),
        Finding("ok", f"torch {facts['torch']}, Triton {versions['triton']}"),
        Finding("ok", f"device: {facts['device']}; {facts['machine']}; precision: {precisions}"),
    ]
    kernels, tested = _kernels(chosen, device, on_test)
    findings += [*kernels, *_disk()]
    tables = [Table("Versions", ("", ""), tuple(versions.items()))]
    if tested:
        rows = tuple((v.family, v.dtype, f"{v.fused_ms:.3g}", f"{v.reference_ms:.3g}", _verdict(v)) for v in tested)
        tables.append(Table("Self-tests of the kernels", ("operation", "dtype", "kernel ms", "PyTorch ms", ""), rows))
    return Section("This machine", tuple(findings), tuple(tables))


def _precisions(chosen: Settings, settings: Settings, device: torch.device) -> str:
    """Return the precision of the settings, and that of other scales where it differs.

    Args:
        chosen: The settings with a chosen precision.
        settings: The settings as they were asked for.
        device: Device of the models.
    """
    own = describe(chosen)
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


def _kernels(
    settings: Settings, device: torch.device, on_test: Callable[[str], None]
) -> tuple[list[Finding], list[Verdict]]:
    """Return findings about the kernels, and the verdicts of their self-tests on this device."""
    if device.type == "cuda":
        if _triton() == "not installed" or not runs_kernels(device):
            reason = "Triton is not installed" if _triton() == "not installed" else "this GPU is older than sm_80"
            return [Finding("warning", f"plain PyTorch computes, because {reason}")], []
        kernels = "Triton kernels compute"
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the finding takes the place of Python's warning
            state = native()
        if state.library is None:
            return [
                Finding("warning", f"plain PyTorch computes, more slowly, without compiled kernels: {state.reason}")
            ], []
        kernels = f"compiled kernels compute (variant {state.variant}, the fastest that this processor runs)"
    verdicts, new = kernel_verdicts(list(MODELS), settings, device, cache_dir() / "kernels", on_test)
    findings = [
        Finding("error", f"the kernel of {v.family} in {v.dtype} is not used: {v.fault}") for v in verdicts if v.fault
    ]
    findings += [
        Finding("note", f"{v.family} in {v.dtype} is computed by plain PyTorch, because the kernel is {reason}")
        for v in verdicts
        if not v.fault and (reason := v.against(compiled=False))
    ]
    when = "tested just now" if new else "tested earlier on this machine"
    agree = f"{sum(not v.fault for v in verdicts)} of {len(verdicts)} agree with float64 references"
    return [Finding("ok", f"{kernels}; {when}, {agree}"), *findings], verdicts


def _verdict(verdict: Verdict) -> str:
    return verdict.against(compiled=False) or "right and fast"


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
