"""A results folder that several processes share: claims, temporary files, the log."""

import multiprocessing
import os
import signal
import socket
import time
from datetime import datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from invented_results import identity, save

from fastser.experiment import events
from fastser.experiment.store import ResultStore
from fastser.runtime.files import atomic_write

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["fastser.experiment.store"])  # the processes of these tests import it once


def test_the_log_has_a_line_for_each_event_and_survives_torn_lines(tmp_path: Path) -> None:
    store, path = ResultStore(tmp_path), tmp_path / "log.jsonl"
    assert events.read(path) == []
    store.note("started", "a" * 16)
    with path.open("ab") as stream:
        stream.write(b'{"time": "2026-01-01", "event": "fini')
    store.note("continued", "a" * 16)
    with path.open("ab") as stream:
        stream.write(b"\xff\xfe\n[]\n7\n{}\n" + b"[" * 100_000 + b"\n")
    store.note("finished", "a" * 16)
    records = events.read(path)
    assert [(record["event"], record["key"]) for record in records] == [
        (event, "a" * 16) for event in ("started", "continued", "finished")
    ]
    assert {record["pid"] for record in records} == {os.getpid()}
    assert {record["host"] for record in records} == {socket.gethostname()}
    assert all(datetime.fromisoformat(record["time"]).utcoffset() == timedelta(0) for record in records)


def write_lines(out: Path, start: Barrier) -> None:
    """Write 500 events at the same time as another process."""
    store = ResultStore(out)
    start.wait(60)
    for number in range(500):
        store.note("started", f"{number:016x}")


def test_lines_of_two_processes_never_mix(tmp_path: Path) -> None:
    start = CONTEXT.Barrier(2)
    writers = [CONTEXT.Process(target=write_lines, args=(tmp_path, start)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert len(events.read(tmp_path / "log.jsonl")) == 1000
    assert len((tmp_path / "log.jsonl").read_bytes().splitlines()) == 1000


def test_only_old_temporary_files_are_removed(tmp_path: Path) -> None:
    ResultStore(tmp_path)
    for folder in (tmp_path / "runs", tmp_path / "checkpoints"):
        folder.mkdir(exist_ok=True)
        old, young, ahead = folder / ".a.npz.x.part", folder / ".b.npz.y.part", folder / ".c.npz.z.part"
        for part in (old, young, ahead):
            part.write_bytes(b"half")
        os.utime(old, (time.time() - 7200,) * 2)
        os.utime(ahead, (time.time() + 7200,) * 2)
        ResultStore(tmp_path)
        assert [part.exists() for part in (old, young, ahead)] == [False, True, True]


@pytest.mark.parametrize("hours", [-1000, 1000])
def test_a_clock_that_jumps_removes_no_file_in_use(tmp_path: Path, hours: int) -> None:
    store, path = ResultStore(tmp_path), tmp_path / "runs" / "a.json"
    with atomic_write(path) as part:
        part.write_text("half")
        os.utime(part, (time.time() + 3600 * hours,) * 2)
        ResultStore(tmp_path)
        part.write_text("whole")
    assert path.read_text() == "whole"
    with store.claim("a" * 16) as mine:
        assert mine
        os.utime(tmp_path / "runs" / f"{'a' * 16}.lock", (time.time() + 3600 * hours,) * 2)
        with ResultStore(tmp_path).claim("a" * 16) as too:
            assert not too


@pytest.mark.fast
def test_two_stores_cannot_claim_the_same_run(tmp_path: Path) -> None:
    first, second = ResultStore(tmp_path), ResultStore(tmp_path)
    with first.claim("a" * 16) as mine:
        with second.claim("a" * 16) as too, second.claim("b" * 16) as other:
            assert (mine, too, other) == (True, False, True)
        save(first, "a" * 16)
    with second.claim("a" * 16) as mine:
        assert not mine


def test_a_claim_ends_when_its_block_raises(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    with pytest.raises(ZeroDivisionError), store.claim("a" * 16):
        _ = 1 // 0
    with store.claim("a" * 16) as mine:
        assert mine


def work_through(out: Path, keys: list[str], start: Barrier) -> None:
    """Work through a plan that another process shares, and note each run that is executed here."""
    store = ResultStore(out)
    start.wait(60)
    for key in keys:
        with store.claim(key) as mine:
            if mine:
                with (out / "done.txt").open("a") as stream:
                    stream.write(f"{key}\n")
                save(store, key)


def test_two_processes_share_the_work_and_repeat_nothing(tmp_path: Path) -> None:
    keys = [f"{n:016x}" for n in range(40)]
    start = CONTEXT.Barrier(2)
    workers = [CONTEXT.Process(target=work_through, args=(tmp_path, order, start)) for order in (keys, keys[::-1])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert sorted((tmp_path / "done.txt").read_text().split()) == keys
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted(
        ["format", *(f"{key}.{suffix}" for key in keys for suffix in ("json", "npz"))]
    )


def hold(out: Path, ready: Barrier) -> None:
    """Claim a run and keep it."""
    with ResultStore(out).claim("a" * 16):
        ready.wait(60)
        signal.pause()  # until this process is killed


def test_a_killed_process_gives_its_claim_back(tmp_path: Path) -> None:
    ready = CONTEXT.Barrier(2)
    holder = CONTEXT.Process(target=hold, args=(tmp_path, ready))
    holder.start()
    ready.wait(60)
    store = ResultStore(tmp_path)
    with store.claim("a" * 16) as mine:
        assert not mine
    holder.kill()
    holder.join()
    with store.claim("a" * 16) as mine:
        assert mine


def test_a_folder_that_another_process_begins_to_use_meanwhile_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process opens the folder and saves a run while this one looks for records."""
    look = Path.glob

    def look_after_another_process(folder: Path, pattern: str) -> object:
        if pattern == "*.json":
            with monkeypatch.context() as patch:
                patch.setattr(Path, "glob", look)
                save(ResultStore(tmp_path))
        return look(folder, pattern)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "glob", look_after_another_process)
        store = ResultStore(tmp_path)
    assert store.finished(identity().key)
