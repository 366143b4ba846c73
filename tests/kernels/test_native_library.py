"""The choice of the compiled library: by processor, by the environment variable FASTSER_NATIVE, and without one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fastser_kernels.native import library
from fastser_kernels.native.library import ENVIRONMENT, FOLDER, VARIANTS, Native, NativeError, runnable

RUNNABLE = runnable()
NEEDS_LIBRARY = pytest.mark.skipif(not RUNNABLE, reason="this installation has no compiled kernels")


def load(monkeypatch: pytest.MonkeyPatch, wanted: str, folder: Path = FOLDER) -> Native:
    """Return what a new process would load from a folder with this value of FASTSER_NATIVE."""
    monkeypatch.setenv(ENVIRONMENT, wanted)
    monkeypatch.setattr(library, "FOLDER", folder)
    return library.native.__wrapped__()


@pytest.mark.fast
@pytest.mark.parametrize("variant", RUNNABLE)
def test_every_variant_that_runs_here_can_be_named(monkeypatch: pytest.MonkeyPatch, variant: str) -> None:
    state = load(monkeypatch, variant)
    assert (state.variant, state.reason) == (variant, "")
    assert state.library is not None
    assert state.library._name == str(FOLDER / f"{variant}.so")


@pytest.mark.fast
@NEEDS_LIBRARY
def test_the_fastest_variant_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, "").variant == RUNNABLE[0]
    assert [name for name in VARIANTS if name in RUNNABLE] == RUNNABLE


@pytest.mark.fast
def test_off_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, "off") == Native(reason="FASTSER_NATIVE=off")


@pytest.mark.fast
@NEEDS_LIBRARY
@pytest.mark.parametrize("name", ["v9", "processor", "../native/v3x", f"{VARIANTS[0]}+unknown"])
def test_an_unknown_variant_is_an_error_that_lists_the_others(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(NativeError) as caught:
        load(monkeypatch, name)
    assert str(caught.value).startswith(f"FASTSER_NATIVE={name}: ")
    assert str(caught.value).endswith(f"use {', '.join([*RUNNABLE, 'off'])}")


@pytest.mark.fast
@NEEDS_LIBRARY
def test_a_variant_of_another_processor_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    foreign = "v3" if RUNNABLE[0] == "neon" else "neon"
    shutil.copy(FOLDER / "processor.so", tmp_path)
    shutil.copy(FOLDER / f"{RUNNABLE[0]}.so", tmp_path / f"{foreign}.so")
    with pytest.raises(NativeError, match=rf"FASTSER_NATIVE={foreign}: .*does not run here; use off"):
        load(monkeypatch, foreign, tmp_path)
    state = load(monkeypatch, "", tmp_path)
    assert state.library is None
    assert "this processor runs none of them" in state.reason


@pytest.mark.fast
@NEEDS_LIBRARY
def test_a_library_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copy(FOLDER / "processor.so", tmp_path)
    (tmp_path / f"{RUNNABLE[0]}.so").write_bytes(b"no library")
    state = load(monkeypatch, "", tmp_path)
    assert state.library is None
    assert state.reason.startswith(f"{RUNNABLE[0]}.so cannot be loaded: ")
    with pytest.raises(NativeError, match=rf"FASTSER_NATIVE={RUNNABLE[0]}: {RUNNABLE[0]}\.so cannot be loaded"):
        load(monkeypatch, RUNNABLE[0], tmp_path)


@pytest.mark.fast
@NEEDS_LIBRARY
@pytest.mark.parametrize("change", ["content", "name", "none"])
def test_a_library_that_is_older_than_its_sources_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    for name in ("processor", RUNNABLE[0]):
        (tmp_path / f"{name}.so").symlink_to(FOLDER / f"{name}.so")
    shutil.copytree(FOLDER / "src", tmp_path / "src")
    source = tmp_path / "src" / "calls.h"
    if change == "none":
        assert load(monkeypatch, "", tmp_path).library is not None
        return
    if change == "content":
        source.write_text(source.read_text() + "\n")
    else:
        source.rename(source.with_name("call.h"))
    with pytest.warns(UserWarning, match=f"^{library.STALE}; until then plain PyTorch computes$"):
        assert load(monkeypatch, "", tmp_path) == Native(reason=library.STALE)
    named = pytest.raises(NativeError, match=f"{ENVIRONMENT}={RUNNABLE[0]}: {library.STALE}")
    with pytest.warns(UserWarning, match=library.STALE), named:
        load(monkeypatch, RUNNABLE[0], tmp_path)


@pytest.mark.fast
@NEEDS_LIBRARY
def test_a_library_that_does_not_know_its_sources_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    shutil.copy(FOLDER / "processor.so", tmp_path)
    shutil.copy(FOLDER / "processor.so", tmp_path / f"{RUNNABLE[0]}.so")
    with pytest.warns(UserWarning, match="older than their sources"):
        assert load(monkeypatch, "", tmp_path).library is None


@pytest.mark.fast
def test_an_installation_without_libraries_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library.sys, "platform", "linux")
    monkeypatch.setattr(library.platform, "machine", lambda: "x86_64")
    state = load(monkeypatch, "", tmp_path)
    assert state.library is None
    assert state.reason == "this installation has none; install a C++ compiler such as g++, then install fastser again"
    assert runnable() == []
    with pytest.raises(NativeError, match="FASTSER_NATIVE=v3: no compiled kernels: this installation has none"):
        load(monkeypatch, "v3", tmp_path)


@pytest.mark.fast
def test_a_system_without_compiled_kernels_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library.sys, "platform", "darwin")
    monkeypatch.setattr(library.platform, "machine", lambda: "arm64")
    state = load(monkeypatch, "", tmp_path)
    assert state.reason.startswith("there are none for darwin on arm64")


COMPUTE = f"""
import os, sys, torch

for wanted in sys.argv[1:]:
    child = os.fork()  # the variants share the start of PyTorch
    if child == 0:
        os.environ["{ENVIRONMENT}"] = wanted
        import fastser_kernels
        from fastser_kernels.native.library import native
        from fastser_kernels.registration import has_kernel

        x = torch.tensor([0.0, 1.0, 2.0])
        fastser_kernels.linf_step(x, x.clone(), torch.tensor([1.0, -1.0, 0.0]), 0.5, 0.25, None)
        print(native().variant or "off", has_kernel("linf_step", x), x.tolist(), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, wanted
"""


def test_a_process_computes_with_the_variant_of_its_environment() -> None:
    variants = [*RUNNABLE, "off"]
    command, environ = [sys.executable, "-c", COMPUTE, *variants], os.environ | {"TRITON_INTERPRET": "0"}
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [f"{wanted} {wanted != 'off'} [0.25, 0.75, 2.0]" for wanted in variants]
