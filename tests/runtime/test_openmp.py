"""Commands bound the spinning of OpenMP's threads before torch is loaded, and never against the user's setting."""

import os
import subprocess
import sys

import pytest
from torch.__config__ import parallel_info

from fastser.runtime.openmp import bound_spinning, waiting_of_commands

OURS = {"GOMP_SPINCOUNT": "3000"}
SETTINGS_OF_USERS = [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "77"}, {"KMP_BLOCKTIME": "0"}]

HELP_THEN_TORCH = """
import contextlib, io, sys
from fastser.reproduce import main
sys.argv[1:] = ["--help"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main()
import torch
"""


def run(program: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program in a process whose environment says nothing else about waiting."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    return subprocess.run(
        [sys.executable, "-c", program], env=others | variables, capture_output=True, text=True, check=True, timeout=300
    )


@pytest.mark.fast
def test_without_a_setting_of_the_user_the_spinning_is_bounded() -> None:
    assert waiting_of_commands({"OMP_NUM_THREADS": "2"}) == OURS


@pytest.mark.fast
@pytest.mark.parametrize("setting", SETTINGS_OF_USERS)
def test_a_setting_of_the_user_stays(setting: dict[str, str]) -> None:
    assert waiting_of_commands(setting) == setting


def test_nothing_is_set_after_torch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    assert "torch" in sys.modules
    bound_spinning()
    assert "GOMP_SPINCOUNT" not in os.environ


def test_an_import_sets_nothing() -> None:
    program = "import fastser, fastser.reproduce, fastser.runtime.openmp, os; print(os.environ.get('GOMP_SPINCOUNT'))"
    assert run(program, {}).stdout == "None\n"


@pytest.mark.skipif("OpenMP" not in parallel_info(), reason="this torch has no OpenMP")
@pytest.mark.skipif(sys.platform != "linux", reason="torch uses GNU OpenMP on Linux only")
@pytest.mark.parametrize("variables", [{}, *SETTINGS_OF_USERS[:2]])
def test_openmp_reads_what_a_command_has_set(variables: dict[str, str]) -> None:
    shown = run(HELP_THEN_TORCH, variables | {"OMP_DISPLAY_ENV": "verbose"}).stderr
    for name, value in (variables or OURS).items():
        assert f"{name} = '{value}'" in shown
    if "GOMP_SPINCOUNT" not in (variables or OURS):
        assert "GOMP_SPINCOUNT = '3000'" not in shown
