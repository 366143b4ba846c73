"""Fixtures that run the same cases in four tiers: CPU, Triton's interpreter, ahead-of-time compilation and GPU.

A test with the mark `kernel` takes the `device` fixture and calls operations through their public functions. A plain
process runs the CPU implementations. A process with TRITON_INTERPRET=1 runs the Triton kernels on CPU tensors (see
test_interpreter.py). With `-m gpu` the kernels run on a GPU.
"""

from collections.abc import Iterator
from pathlib import Path

import fastser_kernels
import pytest
import torch
from cases import NO_GPU
from fastser_kernels import use_kernels
from fastser_kernels.native.library import native
from fastser_kernels.registration import INTERPRETED, launched_on_cpu

FAMILIES = tuple(sorted(path.parent.name for path in Path(fastser_kernels.__file__).parent.glob("*/op.py")))
"""Names of the families of operations, with which the names of their test files begin."""

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])])
def device(request: pytest.FixtureRequest) -> str:
    """Device of a case."""
    return str(request.param)


@pytest.fixture(params=DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Dtype of a case's maps, batches or waveforms."""
    if INTERPRETED and request.param == torch.bfloat16:
        pytest.skip("Triton's interpreter truncates when it stores bf16, and multiplies its bit patterns")
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def computed_by_a_kernel(request: pytest.FixtureRequest) -> None:
    """Skip the cases of an operation on a CPU without compiled kernels: a reference would be compared with itself."""
    family = request.module.__name__.removeprefix("test_").startswith(FAMILIES)
    if family and not launched_on_cpu() and native().library is None and not request.node.get_closest_marker("gpu"):
        pytest.skip(f"no compiled kernels: {native().reason}")


@pytest.fixture(autouse=True)
def untested_kernels() -> Iterator[None]:
    """Use the kernels without their own self-test, after which a reference might be compared with itself."""
    with use_kernels("fused"):
        yield


@pytest.fixture(autouse=True)
def own_operations_in_all(own_operations: None) -> None:
    """Use the operations in every test, also for sizes at which the reference is faster."""


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Fill every new tensor with NaN, so that a value that a kernel does not write is noticed."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.manual_seed(0)
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = False
