"""Verdicts in the cache folder, and the identity of the machine to which they belong."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fastser_kernels.fallback_warning import FallbackWarning
from fastser_kernels.native.library import native
from fastser_kernels.trust import combination as combination_module
from fastser_kernels.trust import store as store_module
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


def content(store: VerdictStore) -> str:
    assert store.marker is not None
    return store.marker.read_text()


def killed_in_a_test(store: VerdictStore) -> None:
    """Leave the file as a process leaves it that is killed during the test of the LSTM."""
    assert store.marker is not None
    with store.testing() as marker, marker.test_of("lstm", "float32"):
        left = content(store)
    store.marker.write_text(left)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VerdictStore:
    """An empty store, without a pause before a repeated test."""
    monkeypatch.setattr(store_module, "PAUSE_S", 0.0)
    return VerdictStore(tmp_path, "this machine")


def test_a_kernel_is_given_up_after_two_unfinished_tests(store: VerdictStore, tmp_path: Path) -> None:
    killed_in_a_test(store)
    assert VerdictStore(tmp_path, "this machine").wrong("lstm", "float32") is None  # a time limit, perhaps
    with pytest.warns(FallbackWarning, match="self-test of the kernel of lstm in float32, which is repeated now"):
        killed_in_a_test(store)
    later = VerdictStore(tmp_path, "this machine")
    verdict = VerdictStore(tmp_path, "this machine").get("lstm", "float32", "any size")
    assert verdict is not None
    (path,) = tmp_path.glob("*.json")
    assert verdict.fault.startswith("two of its self-tests did not end ")
    assert verdict.fault.endswith(f"; to test it again, delete {path}")
    assert content(store) == ""
    assert later.get("lstm", "bfloat16", "any size") is None
    path.unlink()
    assert VerdictStore(tmp_path, "this machine").wrong("lstm", "float32") is None


@pytest.mark.filterwarnings("ignore:a process ended")
def test_a_test_that_ends_clears_the_count_of_its_kernel_and_an_interrupted_one_keeps_it(store: VerdictStore) -> None:
    killed_in_a_test(store)
    with pytest.raises(KeyboardInterrupt), store.testing() as marker, marker.test_of("lstm", "float32"):
        raise KeyboardInterrupt
    with store.testing() as marker, marker.test_of("highway", "float32"):
        assert content(store) == "lstm float32\nhighway float32\n"
    assert content(store) == "lstm float32\n"
    with store.testing() as marker, marker.test_of("lstm", "float32"):
        pass
    assert content(store) == ""


@pytest.mark.filterwarnings("ignore:a process ended")
def test_the_test_of_a_living_process_does_not_count(store: VerdictStore, tmp_path: Path) -> None:
    killed_in_a_test(store)
    with store.testing() as marker, marker.test_of("lstm", "float32"):
        assert content(store) == "lstm float32\n" * 2
        assert VerdictStore(tmp_path, "this machine").wrong("lstm", "float32") is None
        with store.testing(wait_s=0.0) as without_lock, without_lock.test_of("lstm", "float32"):
            assert content(store) == "lstm float32\n" * 2
    assert VerdictStore(tmp_path, "this machine").wrong("lstm", "float32") is None
    assert content(store) == ""


@pytest.mark.filterwarnings("ignore:a process ended")
def test_a_process_that_is_killed_with_the_first_one_has_not_begun_its_own_test(
    store: VerdictStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_in_a_test(store)
    pauses: list[tuple[float, str]] = []
    monkeypatch.setattr(store_module, "PAUSE_S", 2.0)
    monkeypatch.setattr(store_module.time, "sleep", lambda seconds: pauses.append((seconds, content(store))))
    with store.testing() as marker, marker.test_of("lstm", "float32"):
        assert pauses == [(2.0, "lstm float32\n")]


def test_a_damaged_mark_counts_as_none(store: VerdictStore, tmp_path: Path) -> None:
    assert store.marker is not None
    store.marker.write_bytes(b"\xff\n\xff\n\nlstm\nlstm\n")
    later = VerdictStore(tmp_path, "this machine")
    with later.testing() as marker:
        assert marker.given_up() == []
    assert list(tmp_path.glob("*.json")) == []


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
        with store.testing() as marker, marker.test_of("lstm", "float32"):
            store.add(Verdict("lstm", "float32", "1"))
        assert store.get("lstm", "float32", "1") == Verdict("lstm", "float32", "1")
