"""Findings about the kernels: which compute, and how their self-tests on this machine end."""

import warnings
from collections.abc import Callable
from importlib.util import find_spec

import torch
from fastser_kernels.chips import runs_kernels
from fastser_kernels.native.library import native
from fastser_kernels.trust.verdict import Verdict

from fastser.data.examination.finding import Finding
from fastser.experiment.kernel_choice import kernel_verdicts
from fastser.models import MODELS
from fastser.report.doctor_page import Section, Table
from fastser.runtime.files import cache_dir
from fastser.settings import Settings
from fastser.training.precision import with_chosen_precision


def kernel_section(settings: Settings, device: torch.device, on_test: Callable[[str], None]) -> Section:
    """Test the kernels where this machine has any. A first test can take minutes, later ones come from the cache.

    Args:
        settings: Settings of the runs, which give the sizes of the self-tests.
        device: Device of the models.
        on_test: Called with the name of an operation before its test.
    """
    kernels, absence = _present(device)
    if absence:
        return Section("Kernels", (Finding("warning", absence),))
    chosen = with_chosen_precision(settings, device)
    verdicts, new = kernel_verdicts(list(MODELS), chosen, device, cache_dir() / "kernels", on_test)
    when = "tested just now" if new else "tested earlier on this machine"
    agree = f"{sum(not v.fault for v in verdicts)} of {len(verdicts)} agree with float64 references"
    findings = (
        Finding("ok", f"{kernels}; {when}, {agree}"),
        *(
            Finding("error", f"the kernel of {v.family} in {v.dtype} is not used: {v.fault}")
            for v in verdicts
            if v.fault
        ),
        *(
            Finding("note", f"{v.family} in {v.dtype} is computed by plain PyTorch, because the kernel is {reason}")
            for v in verdicts
            if not v.fault and (reason := v.against(compiled=False))
        ),
    )
    rows = tuple((v.family, v.dtype, f"{v.fused_ms:.3g}", f"{v.reference_ms:.3g}", _verdict(v)) for v in verdicts)
    header = ("operation", "dtype", "kernel ms", "PyTorch ms", "")
    return Section("Kernels", findings, (Table("Self-tests of the kernels", header, rows),) if rows else ())


def _present(device: torch.device) -> tuple[str, str]:
    """Return which kernels compute on a device and an empty text, or an empty text and why there are none."""
    if device.type == "cuda":
        if find_spec("triton") is None:
            return "", "plain PyTorch computes, because Triton is not installed"
        if not runs_kernels(device):
            return "", "plain PyTorch computes, because this GPU is older than sm_80"
        return "Triton kernels compute", ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the finding takes the place of Python's warning
        state = native()
    if state.library is None:
        return "", f"plain PyTorch computes, more slowly, without compiled kernels: {state.reason}"
    return f"compiled kernels compute (variant {state.variant}, the fastest that this processor runs)", ""


def _verdict(verdict: Verdict) -> str:
    return verdict.against(compiled=False) or "right and fast"
