"""Benchmark of training steps beside busy loops."""

import subprocess
from typing import Any

import pytest

from benchmarks import busy_steps


@pytest.mark.parametrize(
    ("text", "variables"),
    [("none", {}), ("OMP_WAIT_POLICY=PASSIVE,A=b=c", {"OMP_WAIT_POLICY": "PASSIVE", "A": "b=c"})],
)
def test_an_environment_is_named_by_its_variables(text: str, variables: dict[str, str]) -> None:
    assert busy_steps.environment_of(text) == variables


def test_the_environment_of_commands_is_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    assert busy_steps.environment_of("commands")["GOMP_SPINCOUNT"] == "5"


def test_a_misspelt_environment_is_refused() -> None:
    with pytest.raises(ValueError, match="passive: expected NAME=VALUE, none or commands"):
        busy_steps.environment_of("passive")


def test_a_step_is_timed_alone_and_beside_loops_that_end(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(*given: Any, **options: Any) -> Any:
        started.append(popen(*given, **options))
        return started[-1]

    monkeypatch.setattr(busy_steps, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(busy_steps, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr(busy_steps.subprocess, "Popen", start)
    seconds = busy_steps.step_seconds("proposed")
    assert seconds.keys() == {"quiet", "busy"}
    assert min(seconds.values()) > 0
    assert started
    assert all(loop.poll() is not None for loop in started)
