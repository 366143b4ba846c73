"""Fixtures that run the same cases in four tiers: CPU, Triton's interpreter, ahead-of-time compilation and GPU.

A test with the mark `kernel` takes the `device` fixture and calls operations through their public functions. A plain
process runs the CPU implementations. A process with TRITON_INTERPRET=1 runs the Triton kernels on CPU tensors (see
test_interpreter.py). With `-m gpu` the kernels run on a GPU.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

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


@pytest.fixture(scope="session", autouse=True)
def interpreter_tier(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str] | None]:
    """Process of the interpreter tier, or None where it is not selected.

    It starts with the first test and runs beside the others, because each of them uses one core. test_interpreter.py
    waits for its end.
    """
    selected = any(item.path.name == "test_interpreter.py" for item in request.session.items)
    if INTERPRETED or not selected or find_spec("triton") is None:
        yield None
        return
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "kernel and not gpu", str(Path(__file__).parent)]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        yield process
        process.kill()


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
