"""Launches: every argument by keyword, on the device of the first tensor, with the options of its chip."""

from dataclasses import replace
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")
from fastser_kernels.chips import WITHOUT_GPU
from fastser_kernels.launch import launch, launch_options, recorded

pytestmark = pytest.mark.fast


class FakeKernel:
    """A kernel that writes its launches into a list."""

    arg_names = ("first_ptr", "second_ptr", "number", "BLOCK")

    def __init__(self, events: list[Any]) -> None:
        self.events = events

    @staticmethod
    def fn() -> None: ...

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda **arguments: self.events.append(("run", grid, arguments))


def _arguments() -> dict[str, Any]:
    return {"second_ptr": torch.ones(2), "first_ptr": torch.zeros(2), "number": 3, "BLOCK": 16}


def test_a_kernel_runs_while_the_device_of_its_first_tensor_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Any] = []

    class Guard:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor

        def __enter__(self) -> None:
            events.append(("enter", self.tensor))

        def __exit__(self, *_: object) -> None:
            events.append(("leave", self.tensor))

    monkeypatch.setattr(torch.cuda, "device_of", Guard)
    arguments = _arguments()
    launch(FakeKernel(events), (5, 2), num_warps=8, num_stages=3, **arguments)
    first = arguments["second_ptr"]  # the first one of the call, not of the kernel
    (entered, guarded), (ran, grid, passed), (left, _) = events
    assert (entered, ran, left) == ("enter", "run", "leave")
    assert guarded is first
    assert grid == (5, 2)
    assert passed == arguments | {"num_warps": 8, "num_stages": 3}


@pytest.mark.parametrize("grid", [(1,), (0, 4)], ids=["programs", "no programs"])
@pytest.mark.parametrize("recording", [False, True], ids=["running", "recording"])
def test_a_forgotten_or_unknown_argument_is_named(recording: bool, grid: tuple[int, ...]) -> None:
    events: list[Any] = []

    def refused(sentence: str, arguments: dict[str, Any]) -> None:
        with pytest.raises(TypeError, match=f"^launch of fn: {sentence}; pass first_ptr, second_ptr, number, BLOCK$"):
            launch(FakeKernel(events), grid, **arguments)

    def all_refused() -> None:
        arguments = _arguments()
        del arguments["number"]
        refused("argument number is missing", arguments)
        refused("argument numbers is unknown", _arguments() | {"numbers": 1})
        refused("argument number is missing and argument numbers is unknown", arguments | {"numbers": 1})

    if recording:
        with recorded() as launched:
            all_refused()
        assert launched == []
    else:
        all_refused()
    assert events == []


def test_a_record_lists_launches_with_their_arguments_in_the_order_of_the_kernel() -> None:
    kernel = FakeKernel([])
    with recorded() as launched:
        launch(kernel, (2,), num_warps=1, num_stages=5, chained_products=3, **_arguments())
        launch(kernel, (2, 0), **_arguments())
    (entry,) = launched
    assert tuple(entry.arguments) == kernel.arg_names
    assert (entry.kernel, entry.grid, entry.num_warps, entry.num_stages) == (kernel, (2,), 1, 5)
    assert entry.chained_products == 3
    assert kernel.events == []


@pytest.mark.parametrize(
    ("architecture", "warp_size", "chained_products", "options"),
    [
        ("sm_90", 32, 3, {"num_warps": 8, "num_stages": 3}),
        ("sm_100", 32, 1, {"num_warps": 8, "num_stages": 3}),
        ("sm_103", 32, 3, {"num_warps": 8, "num_stages": 1}),
        ("sm_120", 32, 3, {"num_warps": 8, "num_stages": 3}),
        ("gfx942", 64, 3, {"num_warps": 4, "num_stages": 2}),
        ("gfx1100", 32, 1, {"num_warps": 16, "num_stages": 2}),
    ],
)
def test_options_of_a_chip(architecture: str, warp_size: int, chained_products: int, options: dict[str, int]) -> None:
    chip = replace(WITHOUT_GPU, architecture=architecture, warp_size=warp_size)
    assert launch_options(8, 3, chip, chained_products) == options
    few = {"num_warps": 2 if architecture == "gfx1100" else 1, "num_stages": 1}
    assert launch_options(1, 1, chip, chained_products) == few
