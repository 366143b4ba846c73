"""The self-test at the start of a command: what it says, what it decides, and what the results record."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ONE_RUN, RUNS, network_runs, run_command
from fastser_kernels.native.library import Native, native
from fastser_kernels.trust import trusted
from fastser_kernels.trust.verdict import Verdict
from rich.console import Console

from fastser.cli import kernel_test
from fastser.cli.kernel_test import choose_kernels
from fastser.experiment.kernel_choice import KernelChoice
from fastser.settings import QUICK

CPU, GPU = torch.device("cpu"), torch.device("cuda")
CONSOLE = Console(quiet=True)
NEEDS_LIBRARY = pytest.mark.skipif(native().library is None, reason="no compiled kernels here")


@pytest.fixture
def times(cache: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, float]]:
    """Self-tests without kernels: the fault and the milliseconds of a family's kernel; those of the reference are 2."""
    found: dict[str, tuple[str, float]] = {}

    def self_test(family: str, dtype: torch.dtype, device: torch.device, size: object, **_: Any) -> Verdict:
        fault, fused_ms = found.get(family, ("", 1.0))
        return Verdict(family, str(dtype).removeprefix("torch."), str(size), fault, fused_ms, 2.0)

    monkeypatch.setattr(trusted, "self_test", self_test)
    trusted._store.cache_clear()
    return found


@NEEDS_LIBRARY
@pytest.mark.fast
def test_a_first_command_says_that_all_is_right_and_later_ones_say_nothing(times: dict[str, Any]) -> None:
    choice, (line,) = choose_kernels("auto", ["cnn", "proposed"], QUICK, CPU, CONSOLE, here=True)
    assert re.fullmatch(r"kernels: tested on this machine in \d+\.\d s: all right", line)
    assert choice == KernelChoice("auto", ())
    assert choose_kernels("auto", ["proposed"], QUICK, CPU, CONSOLE, here=True) == (choice, [])


@NEEDS_LIBRARY
@pytest.mark.fast
def test_slow_and_wrong_kernels_are_named_each_time(times: dict[str, Any]) -> None:
    times |= {"lstm": ("", 2.5), "highway": ("its self-test fails at the odd size", 1.0)}
    new, old = (choose_kernels("auto", ["proposed"], QUICK, CPU, CONSOLE, here=True) for _ in range(2))
    assert new[0] == old[0]
    found = "lstm in float32 by the reference (slower here: 2.5 ms instead of 2 ms); highway in float32 is not used"
    assert new[1][0].endswith(f" s: {found}")
    assert old[1][0] == f"kernels: {found}"
    for _, (_, warning) in (new, old):
        assert warning.startswith("warning: the kernel of highway in float32 is not used, plain PyTorch computes inst")
        assert "its self-test fails at the odd size. Please report this line" in warning


@pytest.mark.fast
def test_only_kernels_that_may_compute_in_this_process_are_tested(
    times: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_test, "kernel_verdicts", None)
    assert choose_kernels("fused", ["cnn"], QUICK, CPU, CONSOLE, here=True) == (KernelChoice("fused"), [])
    assert choose_kernels("reference", ["cnn"], QUICK, CPU, CONSOLE, here=True) == (KernelChoice("reference"), [])
    assert choose_kernels("auto", ["cnn"], QUICK, GPU, CONSOLE, here=False) == (KernelChoice("auto"), [])
    monkeypatch.setattr(kernel_test, "native", lambda: Native(reason="none"))
    assert choose_kernels("auto", ["cnn"], QUICK, CPU, CONSOLE, here=True) == (KernelChoice("auto"), [])


@NEEDS_LIBRARY
def test_a_run_by_the_reference_is_another_run_with_the_same_results(
    manifest: Path, tmp_path: Path, times: dict[str, Any]
) -> None:
    options = {**ONE_RUN, "source": f"manifest={manifest}", "out": tmp_path / "out", "kernels": "auto"}
    ended = run_command(**options)
    assert re.search(r"^kernels: tested on this machine in .* s: all right$", ended.out, re.MULTILINE)
    assert f"{RUNS} reused, 0 to do" in run_command(**options | {"kernels": "fused"}).out
    times["max_pool_relu"] = ("", 2.5)
    for file in (tmp_path / "cache" / "kernels").iterdir():
        file.unlink()
    trusted._store.cache_clear()
    assert f"{RUNS - 1} reused, 1 to do" in run_command(**options).out  # yardsticks have no max_pool_relu
    kernels = {run.metadata["environment"]["kernels"] for run in network_runs(tmp_path / "out")}
    auto = f"auto: fused (native {native().variant})"
    assert kernels == {
        auto,
        f"{auto}, but max_pool_relu in float32 by the reference (slower here: 2.5 ms instead of 2 ms)",
    }
