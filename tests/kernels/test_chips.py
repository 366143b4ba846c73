"""Rules that depend on the GPU, with the properties of GPUs that are not here."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fastser_kernels import chips, registration
from fastser_kernels.chips import WITHOUT_GPU, Chip, assumed, chip_of, runs_kernels
from fastser_kernels.choice import use_kernels
from fastser_kernels.registration import has_kernel
from torch._subclasses import FakeTensorMode

pytestmark = pytest.mark.fast

CUDA = torch.device("cuda:0")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forget the GPUs and warnings of other tests, and those of the test."""
    for cached in (chips._gpu, chips._warn):
        cached.cache_clear()
    yield
    for cached in (chips._gpu, chips._warn):
        cached.cache_clear()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that puts a GPU with such properties into this machine."""

    def install(**properties: Any) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(**properties))

    return install


def nvidia(major: int, minor: int, multiprocessors: int = 128, shared_memory: int = 99 * 1024) -> dict[str, Any]:
    return {
        "major": major,
        "minor": minor,
        "multi_processor_count": multiprocessors,
        "shared_memory_per_block_optin": shared_memory,
        "warp_size": 32,
    }


def test_a_gpu_is_read_from_the_driver_once(gpu: Any) -> None:
    gpu(**nvidia(8, 9))
    assert chip_of(CUDA) == Chip("sm_89", 128, 99 * 1024, 32)
    gpu(**nvidia(9, 0))
    assert chip_of(CUDA).architecture == "sm_89"


def test_amd_reports_no_limit_of_shared_memory(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "7.0")
    gpu(gcnArchName="gfx942:sramecc+:xnack-", multi_processor_count=304, warp_size=64, major=9, minor=4)
    chip = chip_of(CUDA)
    assert chip == Chip("gfx942", 304, 64 * 1024, 64)
    assert (chip.on_amd, chip.runs_kernels) == (True, True)


@pytest.mark.parametrize("device", ["cpu", "meta", "cuda:0"])
def test_launches_without_a_gpu_are_the_same_on_every_machine(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with assumed(replace(WITHOUT_GPU, multiprocessors=7)), assumed(replace(WITHOUT_GPU, multiprocessors=3)):
        assert chip_of(torch.device(device)).multiprocessors == 3
    assert chip_of(torch.device(device)) == WITHOUT_GPU


@pytest.mark.parametrize(("capability", "runs"), [((7, 0), False), ((7, 5), False), ((8, 0), True), ((12, 0), True)])
def test_kernels_need_sm_80_and_say_so_once(
    capability: tuple[int, int], runs: bool, gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeTensorMode():
        x = torch.empty(2, device=CUDA)
    monkeypatch.setattr(registration, "_triton_installed", lambda: True)
    gpu(**nvidia(*capability))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with use_kernels("fused"):
            assert [has_kernel("gather", x), has_kernel("gather", x)] == [runs, runs]
    major, minor = capability
    sentence = (
        f"need a GPU of architecture sm_80 or later, and this one is sm_{major}{minor}: the operations run as plain"
    )
    assert [sentence in str(warning.message) for warning in caught] == ([] if runs else [True])


@pytest.mark.parametrize("architecture", ["sm_75", "sm_80"])
def test_the_rule_is_a_constant_for_torch_compile(architecture: str) -> None:
    torch._dynamo.reset()

    @torch.compile(fullgraph=True, backend="eager")
    def doubled_by_kernels(x: torch.Tensor) -> torch.Tensor:
        return x * 2 if runs_kernels(x.device) else x

    with assumed(replace(WITHOUT_GPU, architecture=architecture)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert doubled_by_kernels(torch.ones(1)) == (1 if architecture == "sm_75" else 2)
