"""The assembler of the kernels on Hopper: which one, for which kernels, and what happens without it."""

import os
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")
import triton
import triton.language as tl
from fastser_kernels import assembler, launch
from fastser_kernels.assembler import MOST_WARPS, Assembly, prepare_for_hopper, right_assembler, usable_assembler
from fastser_kernels.chips import WITHOUT_GPU
from fastser_kernels.registration import INTERPRETED
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

OLD, NEW = SimpleNamespace(path="old", version="12.8"), SimpleNamespace(path="new", version="13.1")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forget what other tests found, and what the test found."""
    for cached in (right_assembler, usable_assembler):
        cached.cache_clear()
    yield
    for cached in (right_assembler, usable_assembler):
        cached.cache_clear()


@pytest.mark.fast
@pytest.mark.parametrize(
    ("own", "for_blackwell", "driver", "expected"),
    [
        (OLD, NEW, 13_000, "new"),
        (OLD, NEW, 12_090, None),
        (OLD, SimpleNamespace(path="12.9", version="12.9"), 13_010, None),
        (OLD, None, 13_000, None),
        (SimpleNamespace(path="own", version="13.4"), NEW, 13_000, "own"),
    ],
    ids=["Triton 3.7", "driver of CUDA 12", "Triton 3.6", "Triton 3.5", "Triton 3.9"],
)
def test_choice_of_the_assembler(
    own: Any, for_blackwell: Any, driver: int, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = SimpleNamespace(nvidia=SimpleNamespace(ptxas=own, ptxas_blackwell=for_blackwell))
    monkeypatch.setattr(assembler, "knobs", tools)
    monkeypatch.setattr(assembler, "driver_version", lambda: driver)
    assert usable_assembler() == expected


class FakeKernel:
    """A kernel with the attributes of a `triton.jit` function, for two devices."""

    arg_names = ("x_ptr",)

    def __init__(self) -> None:
        self.device_caches = _Binders(self)
        self.launched: list[dict[str, Any]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda **arguments: self.launched.append(arguments)


class _Binders(dict[int, Any]):
    """The caches of a kernel. A new one sets the attribute `compile`, as in Triton."""

    def __init__(self, kernel: FakeKernel) -> None:
        super().__init__()
        self.kernel = kernel

    def __missing__(self, device: int) -> Any:
        self.kernel.compile = triton.compile  # type: ignore[attr-defined]
        return self.setdefault(device, object())


@pytest.mark.fast
def test_every_device_of_a_kernel_gets_the_right_assembler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembler, "usable_assembler", lambda: "new")
    kernel: Any = FakeKernel()
    for device in (0, 0, 1, 0):
        monkeypatch.setattr(torch.cuda, "current_device", lambda device=device: device)
        assert prepare_for_hopper(kernel, 8) == 8
        kernel.device_caches[device]  # as a launch does
        assert kernel.compile == Assembly(triton.compile, "new")


@pytest.mark.fast
@pytest.mark.parametrize(("architecture", "warps"), [("sm_90", MOST_WARPS), ("sm_80", 8), ("sm_100", 8)])
def test_without_it_programs_on_hopper_have_few_warps(
    architecture: str, warps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembler, "usable_assembler", lambda: None)
    monkeypatch.setattr(launch, "chip_of", lambda _: replace(WITHOUT_GPU, architecture=architecture))
    kernel = FakeKernel()
    for wanted in (8, 2):
        launch.launch(kernel, (1,), num_warps=wanted, x_ptr=torch.zeros(1))
    assert [launched["num_warps"] for launched in kernel.launched] == [warps, 2]


@pytest.mark.aot
@pytest.mark.skipif(INTERPRETED, reason="a process that interprets kernels cannot compile them")
def test_only_our_kernels_for_hopper_are_assembled_by_it() -> None:
    ptxas = right_assembler()
    if ptxas is None:
        pytest.skip("this Triton has no assembler of CUDA 13.1")
    before = dict(os.environ), knobs.nvidia.ptxas
    ours = Assembly(triton.compile, ptxas)
    versions = [_ptx_version(*how) for how in ((ours, 90), (ours, 80), (triton.compile, 90))]
    assert (dict(os.environ), knobs.nvidia.ptxas) == before
    of_triton = f"8.{int(before[1].version.partition('.')[2]) - 1}"
    assert versions == ["9.0", of_triton, of_triton]


def _ptx_version(compile_kernel: Any, architecture: int) -> str:
    source = ASTSource(fn=double_kernel, signature={"x_ptr": "*fp32"}, constexprs={})
    compiled = compile_kernel(source, target=GPUTarget("cuda", architecture, 32), options={})
    return str(compiled.asm["ptx"]).partition(".version ")[2].split()[0]


@triton.jit
def double_kernel(x_ptr):
    x = x_ptr + tl.arange(0, 32)
    tl.store(x, tl.load(x) * 2)
