"""Calls of the compiled library: their declarations in Python and C++ agree, and a wrong call is an error."""

import importlib
import re
from pathlib import Path
from typing import Any

import fastser_kernels
import pytest
import torch
from fastser_kernels.native.calls import GRAIN, INPUT, INPUTS, OUTPUT, Kind, NativeFunction, threads_for
from fastser_kernels.native.library import FOLDER, Native

import benchmarks.limits  # noqa: F401  (it calls a function of the library too)

PACKAGE = Path(fastser_kernels.__file__).parent
for path in sorted(PACKAGE.glob("*/*.py")):
    if "NativeFunction(" in path.read_text():
        importlib.import_module(f"fastser_kernels.{path.parent.name}.{path.stem}")

Declaration = list[tuple[str, str]]
"""Type and name of each argument."""


def declarations() -> dict[str, Declaration]:
    """Return the declarations of all functions in the C++ sources, by name without `fastser_`."""
    found: dict[str, Declaration] = {}
    for source in sorted((FOLDER / "src").glob("*.cpp")):
        for name, arguments in re.findall(r"FASTSER_CALL\s+fastser_(\w+)\((.*?)\)\s*\{", source.read_text(), re.S):
            assert name not in found, f"{name} is defined twice"
            pairs = (" ".join(argument.split()).rpartition(" ") for argument in arguments.split(","))
            found[name] = [(kind, argument) for kind, _, argument in pairs]
    return found


IN_CPP = declarations()


@pytest.mark.fast
def test_python_and_cpp_have_the_same_functions() -> None:
    assert IN_CPP.keys() == NativeFunction.declared.keys()
    assert "linf_step" in IN_CPP


@pytest.mark.fast
@pytest.mark.parametrize("name", sorted(IN_CPP))
def test_python_and_cpp_declare_the_same_arguments(name: str) -> None:
    in_python = [(kind.value, argument) for argument, kind in NativeFunction.declared[name].arguments.items()]
    assert IN_CPP[name] == [("int", "dtype"), *in_python, ("int", "threads")]


@pytest.fixture
def step_arguments() -> dict[str, Any]:
    """Arguments of `linf_step` for no values at all."""
    names = dict.fromkeys(("alpha", "eps", "low", "high"), 0.0)
    return {"adv": torch.empty(0), "clean": torch.empty(0), "grad": torch.empty(0), "values": 0, **names}


@pytest.mark.fast
@pytest.mark.parametrize("change", [{"alpha": None}, {"beta": 1.0}], ids=["missing", "unknown"])
def test_a_missing_or_unknown_argument_is_named(step_arguments: dict[str, Any], change: dict[str, Any]) -> None:
    (name, value), step = change.popitem(), NativeFunction.declared["linf_step"]
    if value is None:
        del step_arguments[name]
    else:
        step_arguments[name] = value
    with pytest.raises(TypeError, match=f"linf_step: missing or unknown arguments: {name}$"):
        step(torch.float32, threads=1, **step_arguments)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("status", "error", "sentence"),
    [(1, MemoryError, "linf_step needs more memory"), (2, RuntimeError, "linf_step: unknown dtype")],
)
def test_a_status_becomes_an_exception(
    monkeypatch: pytest.MonkeyPatch,
    step_arguments: dict[str, Any],
    status: int,
    error: type[Exception],
    sentence: str,
) -> None:
    step = NativeFunction.declared["linf_step"]
    monkeypatch.setattr(step, "_function", lambda *_: status)
    with pytest.raises(error, match=sentence):
        step(torch.float32, threads=1, **step_arguments)


@pytest.mark.fast
def test_a_call_without_library_says_why_there_is_none(
    monkeypatch: pytest.MonkeyPatch, step_arguments: dict[str, Any]
) -> None:
    step = NativeFunction.declared["linf_step"]
    monkeypatch.setattr(step, "_function", None)
    monkeypatch.setattr("fastser_kernels.native.calls.native", lambda: Native(reason="the reason"))
    with pytest.raises(RuntimeError, match="linf_step: no compiled kernels: the reason"):
        step(torch.float32, threads=1, **step_arguments)


@pytest.mark.fast
def test_arguments_are_passed_in_the_order_of_the_declaration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NativeFunction, "declared", {})
    function = NativeFunction("scale", y=OUTPUT, xs=INPUTS, x=INPUT, n=Kind.INT, factor=Kind.FLOAT, flag=Kind.FLAG)
    passed: list[Any] = []
    function._function = lambda *arguments: passed.extend(arguments) or 0
    x, y = torch.zeros(2), torch.zeros(2)
    function(torch.bfloat16, flag=True, n=3, factor=1, x=None, xs=[x, None], y=y, threads=7)
    dtype, y_address, addresses, x_address, n, factor, flag, threads = passed
    assert (dtype, y_address, list(addresses), x_address) == (2, y.data_ptr(), [x.data_ptr(), None], None)
    assert (n, factor, flag, threads) == (3, 1.0, True, 7)


@pytest.mark.fast
@pytest.mark.parametrize("kind", [INPUT, OUTPUT])
def test_a_view_is_passed_by_the_address_of_its_own_first_value(monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    whole = torch.zeros(2, 105)
    assert _converted(monkeypatch, kind, whole[1]) == whole.data_ptr() + 105 * whole.itemsize


@pytest.mark.fast
def test_inputs_stay_lazy_copies_and_outputs_become_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    original = torch.ones(4)
    lazy = torch._lazy_clone(original)
    assert _converted(monkeypatch, INPUT, lazy) == torch._C._data_address(original)
    assert torch._C._is_cow_tensor(lazy)
    assert _converted(monkeypatch, OUTPUT, lazy) != torch._C._data_address(original)
    assert not torch._C._is_cow_tensor(lazy)


def _converted(monkeypatch: pytest.MonkeyPatch, kind: Kind, value: object) -> object:
    """Return the value that the C++ side gets."""
    passed: list[object] = []
    monkeypatch.setattr(NativeFunction, "declared", {})
    function = NativeFunction("identity", value=kind)
    function._function = lambda _dtype, value, _threads: passed.append(value) or 0
    function(torch.float32, value=value, threads=1)
    return passed[0]


@pytest.mark.fast
def test_small_work_gets_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert [threads_for(values) for values in (0, GRAIN, 2 * GRAIN, 100 * GRAIN)] == [1, 1, 2, 4]
    assert threads_for(30, grain=10) == 3
