"""Cases of the benchmarks in small: every provider passes the gate, and the gate refuses wrong results."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastser_kernels import reference_kernels_active

from benchmarks import cases
from benchmarks.case import Workload
from benchmarks.cases import evaluation
from benchmarks.gate import WrongResultError
from benchmarks.measurement import pass_gate
from benchmarks.timing import first_call
from fastser.data.corpora.synthetic import generate
from fastser.experiment import roles
from fastser.models import MODELS
from fastser.settings import QUICK

CPU = torch.device("cpu")
MAPS = (2, 8, 10, 12)
BLOCK = {"shape": MAPS, "growth_rate": 4, "layers": 3}
FEW = {"batch": 4, "settings": QUICK.spectrogram, "bank_segments": 8}
SMALL: dict[str, list[dict[str, Any]]] = {
    "attack": [{"batch": 2, "steps": 2, "settings": QUICK}],
    "batch": [{**FEW, "operation": operation} for operation in ("gather", "gather and mixup")],
    "corpus": [{"utterances": 4}],
    "dense_block": [
        {**BLOCK, "mode": mode} for mode in ("forward", "backward", "forward + backward", "input gradient")
    ],
    "evaluation": [{"name": "cnn", "utterances": 3}],
    "highway": [{"rows": 5, "units": 16, "layers": 2}],
    "linf_step": [{"shape": (3, 5, 7)}],
    "norm_relu": [{"shape": MAPS, "mode": mode} for mode in ("forward", "forward + backward")],
    "segments": [{"segments": 2, "settings": QUICK.spectrogram, "noisy": noisy} for noisy in (False, True)],
    "training_step": [{"name": name, "scale": "quick", "batch": 4} for name in MODELS],
    "transition": [{"shape": MAPS, "mode": mode} for mode in ("forward", "forward + backward")],
}
"""Arguments of each module's `workload`. Arguments that are left out have a default."""

ROWS = [
    pytest.param(name, arguments, id=f"{name}-{number}")
    for name, rows in SMALL.items()
    for number, arguments in enumerate(rows)
]


@pytest.fixture(scope="module", autouse=True)
def few_stand_ins(stand_ins: Path) -> Iterator[None]:
    """Use the stand-ins with one utterance per class and speaker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTSER_CACHE", str(stand_ins / "cache"))
        patch.setattr(roles, "generate", lambda _: generate(stand_ins, utterances_per_class=1))
        yield


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Workload]:
    """Return a function that builds a case's workload without the providers of torch.compile."""

    def built(name: str, arguments: dict[str, Any]) -> Workload:
        module = importlib.import_module(f"benchmarks.cases.{name}")
        monkeypatch.setattr(module, "compiled", lambda *_: ({}, {"compile": "left out"}), raising=False)
        torch.manual_seed(0)
        workload: Workload = module.workload(CPU, **arguments)
        return workload

    return built


@pytest.mark.parametrize(("name", "arguments"), ROWS)
def test_every_provider_passes_the_gate(build: Callable[..., Workload], name: str, arguments: dict[str, Any]) -> None:
    workload = build(name, arguments)
    calls, seconds, wrong = pass_gate(workload, workload.inputs())
    assert wrong == {}
    assert list(calls) == list(seconds) == list(workload.providers)
    assert next(iter(calls)) == "eager"
    assert "fastser" in calls


@pytest.mark.parametrize(("name", "arguments"), ROWS)
def test_the_gate_refuses_results_that_are_wrong(
    build: Callable[..., Workload], name: str, arguments: dict[str, Any]
) -> None:
    workload = build(name, arguments)
    inputs = workload.inputs()
    exact = workload.exact(*inputs)
    _, eager, _ = first_call(workload.providers["eager"], inputs)
    wrong = [result.detach() * 1.1 for result in eager]
    with pytest.raises(WrongResultError, match=r"broken: .*not timed"):
        workload.gate("broken", wrong, eager, exact)


def test_an_evaluation_that_fails_leaves_the_kernels_as_they_were(
    build: Callable[..., Workload], monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = build("evaluation", SMALL["evaluation"][0])
    chosen = []

    def fail(*_: object) -> None:
        chosen.append(reference_kernels_active())
        raise RuntimeError("the evaluation failed")

    monkeypatch.setattr(evaluation, "evaluate", fail)
    for provider in ("eager", "fastser"):
        with pytest.raises(RuntimeError, match="the evaluation failed"):
            workload.providers[provider]()()
        assert not reference_kernels_active()
    assert chosen == [True, False]


def test_every_case_is_covered_and_well_formed() -> None:
    all_cases = cases.all_cases()
    rows = [(case.group, case.shape, device) for case in all_cases for device in case.devices]
    assert len(set(rows)) == len(rows)
    assert set(SMALL) == {module.name for module in pkgutil.iter_modules(cases.__path__)}
    for case in all_cases:
        build: Any = case.build
        assert Path(inspect.getfile(build.func)).stem in SMALL
        inspect.signature(build.func).bind(CPU, **build.keywords)
        assert case.providers[0] == "eager"
        assert "fastser" in case.providers


def test_a_case_names_every_provider_that_it_builds_or_misses(build: Callable[..., Workload]) -> None:
    named = {case.build.func.__module__: set(case.providers) for case in cases.all_cases()}  # type: ignore[attr-defined]
    for name in ("linf_step", "segments", "attack"):
        workload = build(name, SMALL[name][0])
        assert {*workload.providers, *workload.missing} <= named[f"benchmarks.cases.{name}"]
