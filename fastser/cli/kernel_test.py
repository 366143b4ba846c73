"""Self-test of the kernels at the start of a command, and its lines of output."""

import time
from collections.abc import Sequence
from importlib.util import find_spec

import torch
from fastser_kernels.chips import runs_kernels
from fastser_kernels.native.library import native
from fastser_kernels.trust.combination import combination
from fastser_kernels.trust.trusted import warning
from rich.console import Console

from fastser.cli.options import KernelMode
from fastser.cli.steps import KERNEL_TESTS, steps
from fastser.experiment.kernel_choice import KernelChoice, kernel_verdicts
from fastser.runtime.files import cache_dir
from fastser.settings import Settings
from fastser.training.precision import with_chosen_precision


def choose_kernels(
    mode: KernelMode,
    models: Sequence[str],
    settings: Settings,
    device: torch.device,
    console: Console,
    *,
    here: bool,
) -> tuple[KernelChoice, list[str]]:
    """Choose between the kernels and the references for the operations of a grid.

    With the mode "auto", the kernels that its runs use are tested in this process. A GPU of another process is tested
    there, at the first use of each kernel.

    Args:
        mode: Value of `--kernels`.
        models: Names of the models.
        settings: All settings.
        device: Device of the models.
        console: Console for the progress of the test.
        here: Whether the runs have this process.

    Returns:
        The choice, and lines for the user: how a new test ended, which operations the reference computes, and a warning
        about each wrong kernel.

    Raises:
        LostDeviceError: If a kernel crashed and this process must be restarted.
    """
    on_gpu = device.type == "cuda"
    has_kernels = find_spec("triton") is not None if on_gpu else native().library is not None
    has_kernels = has_kernels and (not on_gpu or not here or runs_kernels(device))
    if mode != "auto" or not has_kernels or (device.type == "cuda" and not here):
        return KernelChoice(mode), []
    began = time.perf_counter()
    settings = with_chosen_precision(settings, device)
    with steps(KERNEL_TESTS, None, console) as on_test:
        verdicts, new = kernel_verdicts(models, settings, device, cache_dir() / "kernels", on_test)
    choice = KernelChoice.after(verdicts)
    wrong = [verdict for verdict in verdicts if verdict.fault]
    reasons = choice.reasons() or {}
    faults = {verdict.fault for verdict in wrong}
    found = [f"{label} by the reference ({reason})" for label, reason in reasons.items() if reason not in faults]
    found += [f"{verdict.family} in {verdict.dtype} is not used" for verdict in wrong]
    how = f"tested on this machine in {time.perf_counter() - began:.1f} s: " if new else ""
    lines = [f"kernels: {how}{'; '.join(found) or 'all right'}"] if new or found else []
    return choice, [*lines, *(f"warning: {warning(verdict, combination(device))}" for verdict in wrong)]
