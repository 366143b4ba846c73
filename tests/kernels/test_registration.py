"""What runs where: without Triton, in autocast, and at import."""

import subprocess
import sys
import warnings

import pytest
import torch
from fastser_kernels import highway, registration
from torch._subclasses import FakeTensorMode


def test_import_needs_no_triton_and_loads_none() -> None:
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import torch, fastser_kernels, fastser.layers\n"
        "block = fastser.layers.DenseBlock(4, 2, 2)\n"
        "block(torch.randn(2, 4, 5, 6)).sum().backward()\n"
        "assert not [name for name in sys.modules if name.endswith('kernels') and name != 'fastser_kernels']\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_a_gpu_without_triton_gets_the_reference_and_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "find_spec", lambda _: None)
    registration._triton_installed.cache_clear()
    try:
        with FakeTensorMode(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            x, weight, bias = (torch.empty(s, device="cuda") for s in ([3, 4], [4, 4], [4]))
            for _ in range(2):
                y = highway(x, [weight], [bias], [weight], [bias])
        assert y.device.type == "cuda"
        (warning,) = [w for w in caught if "Triton is not installed" in str(w.message)]
        assert warning.filename == __file__
    finally:
        registration._triton_installed.cache_clear()


@pytest.mark.skipif(registration.INTERPRETED, reason="here the interpreter takes CPU tensors")
def test_who_has_a_kernel() -> None:
    with FakeTensorMode():
        on_gpu = torch.empty(2, device="cuda")
        assert registration.has_kernel(on_gpu) == (registration.find_spec("triton") is not None)
        assert not registration.has_kernel(on_gpu.double())
        assert registration.has_kernel(torch.empty(2, dtype=torch.float64))
        assert not registration.has_kernel(torch.empty(2, device="meta"))


def test_autocast_does_not_reach_into_an_operation() -> None:
    x, weight, bias = torch.randn(3, 4), [torch.randn(4, 4)], [torch.randn(4)]
    expected = highway(x, weight, bias, weight, bias)
    with torch.autocast("cpu", torch.bfloat16):
        actual = highway(x, weight, bias, weight, bias)
    assert torch.equal(actual, expected)
