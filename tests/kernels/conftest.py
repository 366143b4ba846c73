"""The four tiers over the same cases: CPU, Triton's interpreter, ahead-of-time compilation, GPU.

A test that is marked `kernel` takes the `device` fixture and calls operations through their public functions. In a
plain process that runs the CPU implementations; under TRITON_INTERPRET=1 (its own process, see test_interpreter.py)
the Triton kernels on CPU tensors; with `-m gpu` the kernels on a GPU.
"""

from collections.abc import Iterator

import pytest
import torch
from cases import NO_GPU
from fastser_kernels.registration import INTERPRETED

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])])
def device(request: pytest.FixtureRequest) -> str:
    """Where a case runs."""
    return str(request.param)


@pytest.fixture(params=DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Dtype of a case's maps, batches or waveforms."""
    if INTERPRETED and request.param == torch.bfloat16:
        pytest.skip("Triton's interpreter truncates when it stores bf16, and multiplies its bit patterns")
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def own_operations_in_all(own_operations: None) -> None:
    """Every test here is about our operations."""


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Fill every new tensor with NaN, so that a value that a kernel forgets to write is seen."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.manual_seed(0)
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = False
