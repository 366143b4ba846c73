"""Fixtures that run the same cases in four tiers: CPU, Triton's interpreter, ahead-of-time compilation and GPU.

A test with the mark `kernel` takes the `device` fixture and calls operations through their public functions. A plain
process runs the CPU implementations. A process with TRITON_INTERPRET=1 runs the Triton kernels on CPU tensors (see
test_interpreter.py). With `-m gpu` the kernels run on a GPU.
"""

from collections.abc import Iterator

import pytest
import torch
from cases import NO_GPU
from fastser_kernels.registration import INTERPRETED

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
def poisoned_memory() -> Iterator[None]:
    """Fill every new tensor with NaN, so that a value that a kernel does not write is noticed."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.manual_seed(0)
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = False
