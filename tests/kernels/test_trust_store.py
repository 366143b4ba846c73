"""Verdicts in the cache folder, and the identity of the machine to which they belong."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fastser_kernels.native.library import native
from fastser_kernels.trust import combination as combination_module
from fastser_kernels.trust.combination import combination, processor
from fastser_kernels.trust.store import VerdictStore
from fastser_kernels.trust.verdict import Verdict

pytestmark = pytest.mark.fast
CPU = torch.device("cpu")


def test_a_combination_names_chip_driver_and_software(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = combination(CPU)
    for part in (processor(), native().variant, f"{torch.get_num_threads()} threads", torch.__version__):
        assert part in here
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1000)
    assert combination(CPU) != here
    chip = SimpleNamespace(name="NVIDIA H100", major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: chip)
    driver = tmp_path / "driver"
    monkeypatch.setattr(combination_module, "_DRIVERS", [driver])
    driver.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n")
    told = combination(torch.device("cuda", 0))
    assert told.startswith("NVIDIA H100 (9.0), driver 570.86.15, ")
    driver.unlink()
    without = told.replace("570.86.15", "unknown")
    assert combination(torch.device("cuda", 0)) == without
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", not torch.backends.cudnn.allow_tf32)
    assert combination(torch.device("cuda", 0)) != without


def test_a_process_that_died_in_a_self_test_costs_one_kernel(tmp_path: Path) -> None:
    store = VerdictStore(tmp_path, "this machine")
    with store.testing() as marker:
        marker.write("lstm float32")
        assert store.marker is not None
        left = store.marker.read_text()
    assert (left, store.marker.read_text()) == ("lstm float32", "")
    with store.testing() as marker:
        marker.write(left)
        assert VerdictStore(tmp_path, "this machine").wrong("lstm", "float32") is None  # the test goes on
    store.marker.write_text(left)  # as a killed process leaves it
    later = VerdictStore(tmp_path, "this machine")
    verdict = VerdictStore(tmp_path, "this machine").get("lstm", "float32", "any size")
    assert verdict is not None
    assert verdict.fault.startswith("a process crashed in its self-test, or was killed during it; to test it again, ")
    assert str(tmp_path) in verdict.fault
    assert store.marker.read_text() == ""
    assert later.get("lstm", "bfloat16", "any size") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"combination": "this machine"}',
        b'{"combination": "another", "verdicts": []}',
        b'{"combination": "this machine", "verdicts": [{"family": "lstm"}]}',
        b'{"combination": "this machine", "verdicts": [{"family": "lstm", "dtype": "float32", "size": "", "fault": 1, '
        b'"fused_ms": 1.0, "reference_ms": 1.0, "compiled_ms": null}]}',
    ],
)
def test_a_damaged_file_holds_no_verdict_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    verdict = Verdict("lstm", "float32", "1")
    VerdictStore(tmp_path, "this machine").add(verdict)
    (path,) = tmp_path.glob("*.json")
    path.write_bytes(content)
    store = VerdictStore(tmp_path, "this machine")
    assert store.get("lstm", "float32", "1") is None
    store.add(verdict)
    assert VerdictStore(tmp_path, "this machine").get("lstm", "float32", "1") == verdict
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_processes_add_to_each_others_verdicts_and_need_no_folder(tmp_path: Path) -> None:
    one, other = (VerdictStore(tmp_path, "this machine") for _ in range(2))
    one.add(Verdict("lstm", "float32", "1"))
    other.add(Verdict("highway", "float32", "1"))
    one.reload()
    assert one.get("highway", "float32", "1") == Verdict("highway", "float32", "1")
    (tmp_path / "file").touch()
    for folder in (None, tmp_path / "file" / "below"):
        store = VerdictStore(folder, "this machine")
        with store.testing() as marker:
            marker.write("lstm float32")
            store.add(Verdict("lstm", "float32", "1"))
        assert store.get("lstm", "float32", "1") == Verdict("lstm", "float32", "1")
