"""Messages about compiled kernels: a hint where they are missing, an error for a wrong FASTSER_NATIVE."""

from pathlib import Path

import pytest
import torch
from fastser_kernels.native.library import STALE, Native
from processes import Start, finish

from fastser import __version__
from fastser.cli import kernel_hint as module
from fastser.cli.kernel_hint import kernel_hint

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """An installation without compiled kernels, and an empty cache folder."""
    monkeypatch.delenv("FASTSER_NATIVE", raising=False)
    monkeypatch.setattr(module, "native", lambda: Native(reason="install a C++ compiler"))


@pytest.mark.fast
@pytest.mark.usefixtures("missing")
def test_missing_kernels_are_mentioned_once() -> None:
    said = kernel_hint(CPU, use_reference=False)
    assert said == ["warning: plain PyTorch computes, more slowly than compiled kernels would: install a C++ compiler"]
    assert kernel_hint(CPU, use_reference=False) == []


@pytest.mark.fast
@pytest.mark.usefixtures("missing")
def test_kernels_that_are_older_than_their_sources_are_always_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "native", lambda: Native(reason=STALE))
    sentence = (
        "warning: plain PyTorch computes, more slowly than compiled kernels would: compiled kernels are older than"
    )
    for _ in range(2):
        (said,) = kernel_hint(CPU, use_reference=False)
        assert said.startswith(sentence)
        assert said.endswith("run python kernels/build_native.py")


@pytest.mark.fast
@pytest.mark.usefixtures("missing")
def test_a_user_who_wants_no_compiled_kernels_gets_no_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel_hint(CPU, use_reference=True) == []
    assert kernel_hint(GPU, use_reference=False) == []
    monkeypatch.setenv("FASTSER_NATIVE", "off")
    assert kernel_hint(CPU, use_reference=False) == []
    monkeypatch.delenv("FASTSER_NATIVE")
    assert len(kernel_hint(CPU, use_reference=False)) == 1


@pytest.mark.fast
@pytest.mark.usefixtures("cache")
def test_loaded_kernels_need_no_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "native", lambda: Native(variant="v3", library=object()))  # type: ignore[arg-type]
    assert kernel_hint(CPU, use_reference=False) == []


def test_an_unknown_variant_ends_the_command_with_one_sentence(start: Start, tmp_path: Path) -> None:
    """The process has no stand-ins to make and no table, so it has not waited for the slowest parts of scipy either."""
    seen = "import atexit, sys; atexit.register(lambda: print({'scipy.signal', 'scipy.stats'} & set(sys.modules)))"
    arguments = ("--all", "--dry-run", f"--out={tmp_path}")
    status, out, err = finish(start(*arguments, script=seen, FASTSER_NATIVE="v9"))
    assert (status, out) == (2, f"fastser {__version__}: loading PyTorch\nset()\n")
    assert err.startswith("error: FASTSER_NATIVE=v9: ")
    assert err.count("\n") == 1
