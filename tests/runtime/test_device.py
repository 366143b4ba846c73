"""Devices by name."""

import pytest
import torch

from fastser.runtime import device as runtime_device
from fastser.runtime.device import DeviceError, named_device


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The set-up of a process does not reach the other tests."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda _: None)
    monkeypatch.setattr(runtime_device, "keep_freed_memory", lambda: None)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("number", "name", "expected"), [(0, "auto", "cpu"), (0, "cpu", "cpu"), (2, "cuda:1", "cuda:1")]
)
def test_devices_that_are_there(number: int, name: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
    assert str(named_device(name)) == expected


@pytest.mark.fast
@pytest.mark.parametrize(
    ("number", "name", "sentence"),
    [
        (1, "cuda:7", r"--device cuda:7: there is no such CUDA device on this machine \(it has 1\)"),
        (0, "cuda", r"--device cuda: there is no such CUDA device on this machine \(it has 0\)"),
        (1, "cuda:200", "there is no such CUDA device"),
        (1, "cuda:99999999999", "--device cuda:99999999999: not a device; give cpu, cuda, cuda:1 or auto"),
        (1, "cuda:-1", "--device cuda:-1: not a device"),
        (1, "cuda:x", "--device cuda:x: not a device"),
        (1, "cuda:", "--device cuda:: not a device"),
        (1, "gpu", "--device gpu: not a device"),
        (1, "", "--device : not a device"),
        (1, "mps", "--device mps: only cpu and cuda are supported"),
        (1, "meta", "--device meta: only cpu and cuda are supported"),
        (1, "cpu:3", "--device cpu:3: there is no such CPU device"),
    ],
)
def test_other_names_are_refused_in_one_sentence(
    number: int, name: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
    with pytest.raises(DeviceError, match=sentence) as caught:
        named_device(name)
    assert "\n" not in str(caught.value)
