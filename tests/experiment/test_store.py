"""The results store: metrics, and what survives being killed, torn and shared."""

import json
import logging
import multiprocessing
import os
import socket
import time
from datetime import datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

from fastser.evaluation.metrics import ConditionResult
from fastser.experiment import events
from fastser.experiment.store import Failure, ResultsError, ResultStore, RunId
from fastser.runtime.files import atomic_write

SPAWN = multiprocessing.get_context("spawn")


def identity(key: str = "0123456789abcdef", repeat: int = 1) -> RunId:
    return RunId("source", "proposed", "speed+mixup", "Ses01F", repeat, "EMO-DB", key)


def result(seed: int, classes: int = 4, utterances: int = 40) -> ConditionResult:
    rng = np.random.default_rng(seed)
    return ConditionResult(
        rng.dirichlet(np.ones(4), utterances).astype(np.float32),
        rng.integers(0, classes, utterances),
        [f"utterance-{n}" for n in range(utterances)],
    )


def save(store: ResultStore, key: str = "0123456789abcdef") -> dict[str, ConditionResult]:
    conditions = {"clean": result(0), "noise-kitchen-10db": result(1)}
    store.save(identity(key), conditions, {"seed": 7, "wall_seconds": 1.5, "settings": {"scale": "quick"}})
    return conditions


@pytest.mark.parametrize("classes", [4, 3, 1])
def test_metrics_agree_with_scikit_learn_also_where_a_class_is_absent(classes: int) -> None:
    found = result(3, classes)
    predicted = found.posteriors.argmax(axis=1)
    recalls = [np.mean(predicted[found.labels == label] == label) for label in range(classes)]
    assert found.uar == pytest.approx(np.mean(recalls))
    assert found.accuracy == pytest.approx(accuracy_score(found.labels, predicted))
    np.testing.assert_array_equal(found.confusion, confusion_matrix(found.labels, predicted, labels=range(4)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # scikit-learn's, about predicted but absent classes
        assert found.uar == pytest.approx(balanced_accuracy_score(found.labels, predicted))


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    conditions = save(store)
    run = ResultStore(tmp_path).load(identity().key)
    assert run.id == identity()
    assert run.id.label == "proposed, speed+mixup, fold Ses01F, repeat 1"
    assert run.facts == {"seed": 7, "wall_seconds": 1.5, "settings": {"scale": "quick"}}
    assert list(run.confusions) == ["clean", "noise-kitchen-10db"]
    for name, again in store.posteriors(identity().key).items():
        np.testing.assert_array_equal(again.posteriors, conditions[name].posteriors)
        np.testing.assert_array_equal(again.labels, conditions[name].labels)
        np.testing.assert_array_equal(run.confusions[name], conditions[name].confusion)
        assert again.utterance_ids == conditions[name].utterance_ids
        assert again.posteriors.dtype == np.float32
    record = json.loads((tmp_path / "runs" / f"{identity().key}.json").read_text())
    assert record["conditions"]["clean"]["uar"] == conditions["clean"].uar
    assert record["identity"]["fold"] == "Ses01F"


def test_collect_reads_only_the_finished_ones_of_those_asked_for(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for key in ("a" * 16, "b" * 16, "c" * 16):
        save(store, key)
    asked = [identity("c" * 16), identity("d" * 16), identity("a" * 16)]
    assert [run.id.key for run in store.collect(asked)] == ["c" * 16, "a" * 16]


def test_load_of_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"0123456789abcdef\.json.*no finished training"):
        ResultStore(tmp_path).load(identity().key)


@pytest.mark.parametrize("suffix", ["json", "npz"])
@pytest.mark.parametrize("damage", ["halved", "emptied", "garbled", "other"])
def test_a_torn_file_is_warned_of_once_and_overwritten(
    tmp_path: Path, suffix: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = ResultStore(tmp_path)
    save(store)
    path = tmp_path / "runs" / f"{identity().key}.{suffix}"
    whole = path.read_bytes()
    torn = {"halved": whole[: len(whole) // 2], "emptied": b"", "garbled": b"\xff" * 100, "other": b"{}"}[damage]
    path.write_bytes(torn)
    with caplog.at_level(logging.WARNING):
        assert not store.finished(identity().key)
        assert not store.finished(identity().key)
        assert store.collect([identity()]) == []
    assert len(caplog.records) == 1
    assert f"{identity().key}.json" in caplog.text
    with store.claim(identity().key) as mine:
        assert mine
        save(store)
    assert store.finished(identity().key)


FOREIGN = {
    "a list": "[]",
    "a number": "7",
    "brackets without end": "[" * 100_000,
    "no conditions": '{"identity": {}, "conditions": [], "facts": {}}',
    "a future format": "FORMAT",
    "a confusion matrix of another size": "SIZE",
    "a count that no int64 holds": "HUGE",
}


@pytest.mark.parametrize("content", FOREIGN)
def test_a_foreign_file_is_warned_of_once_and_done_again(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = ResultStore(tmp_path)
    save(store)
    path = tmp_path / "runs" / f"{identity().key}.json"
    record = json.loads(path.read_text())
    confusion = record["conditions"]["clean"]["confusion"]
    if content == "a future format":
        record["format"] = 99
    elif content == "a confusion matrix of another size":
        del confusion[3]
    elif content == "a count that no int64 holds":
        confusion[0][0] = 10**30
    path.write_text(json.dumps(record) if FOREIGN[content].isupper() else FOREIGN[content])
    for _ in range(2):
        assert not store.finished(identity().key)
    assert store.collect([identity()]) == []
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    assert ("its format is 99" in caplog.text) == (content == "a future format")


def test_files_that_are_nobody_s_are_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(ResultStore(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    for folder in ("runs", "checkpoints"):
        (tmp_path / folder / "notes.txt").write_text("by hand")
        (tmp_path / folder / "0.json").write_text("")
    store = ResultStore(tmp_path)
    assert store.collect([identity()])
    assert not caplog.records
    assert (tmp_path / "runs" / "notes.txt").exists()


def failed(store: ResultStore, reason: str = "the training loss is nan after epoch 3") -> Failure:
    return store.fail(identity(), reason, "Traceback ...", {"torch": "2.13.0"})


def test_a_failure_is_kept_until_the_training_succeeds(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.checkpoint(identity().key).parent.mkdir()
    store.checkpoint(identity().key).write_bytes(b"a state that leads there again")
    assert store.failure(identity().key) is None
    failed(store, "first")
    failure = failed(store)
    assert not store.checkpoint(identity().key).exists()
    assert ResultStore(tmp_path).failure(identity().key) == failure
    assert store.failures([identity("f" * 16), identity()]) == [failure]
    assert (failure.id, failure.attempts) == (identity(), 2)
    assert failure.reason == "the training loss is nan after epoch 3"
    assert failure.traceback == "Traceback ..."
    assert failure.environment == {"torch": "2.13.0"}
    assert datetime.fromisoformat(failure.date).tzinfo is not None
    store.checkpoint(identity().key).write_bytes(b"a state")
    save(store)
    assert store.failure(identity().key) is None
    assert sorted(path.suffix for path in (tmp_path / "runs").iterdir()) == [".json", ".npz"]
    assert not store.checkpoint(identity().key).exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}', '{"id": {}, "reason": 1}', "OTHER"])
def test_a_foreign_failure_is_warned_of_once_and_the_training_tried_again(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = ResultStore(tmp_path)
    failed(store)
    path = tmp_path / "runs" / f"{identity().key}.failed.json"
    path.write_text(path.read_text().replace(identity().key, "f" * 16) if content == "OTHER" else content)
    for _ in range(2):
        assert store.failure(identity().key) is None
    assert len(caplog.records) == 1
    assert f"{path} is unusable" in caplog.text
    assert failed(store).attempts == 1


def test_what_a_kill_left_behind_after_the_commit_goes_with_the_next_claim(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    save(store)
    left = [store.checkpoint(identity().key), tmp_path / "runs" / f"{identity().key}.failed.json"]
    left[0].parent.mkdir()
    for path in left:
        path.write_text("left")
    assert store.failure(identity().key) is None
    with store.claim(identity().key) as mine:
        assert not mine
    assert not any(path.exists() for path in left)


def test_the_log_has_a_line_for_each_event_and_survives_torn_ones(tmp_path: Path) -> None:
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
    store = ResultStore(out)
    start.wait(60)
    for number in range(500):
        store.note("started", f"{number:016x}")


def test_lines_of_two_processes_never_mix(tmp_path: Path) -> None:
    start = SPAWN.Barrier(2)
    writers = [SPAWN.Process(target=write_lines, args=(tmp_path, start)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert len(events.read(tmp_path / "log.jsonl")) == 1000
    assert len((tmp_path / "log.jsonl").read_bytes().splitlines()) == 1000


def test_killed_between_npz_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultStore(tmp_path)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, store.claim(identity().key):
        patch.setattr(Path, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            save(store)
    assert [path.suffix for path in sorted((tmp_path / "runs").iterdir())] == [".lock", ".npz"]
    assert not store.finished(identity().key)
    with ResultStore(tmp_path).claim(identity().key) as mine:
        assert mine
        save(store)
    assert sorted(path.suffix for path in (tmp_path / "runs").iterdir()) == [".json", ".npz"]


def test_facts_that_json_cannot_hold_write_nothing(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for facts in ({"loss": float("nan")}, {"loss": np.float32(1)}):
        with pytest.raises(ResultsError, match=r"repeat 1 are not plain JSON"):
            store.save(identity(), {"clean": result(0)}, facts)
    assert list((tmp_path / "runs").iterdir()) == []


def test_out_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match=r"--out .*file/results cannot be written: Not a directory"):
        ResultStore(tmp_path / "file" / "results")


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
def test_a_clock_that_jumps_removes_nothing_that_is_being_written(tmp_path: Path, hours: int) -> None:
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


def test_two_stores_cannot_claim_the_same_training(tmp_path: Path) -> None:
    first, second = ResultStore(tmp_path), ResultStore(tmp_path)
    with first.claim("a" * 16) as mine:
        with second.claim("a" * 16) as too, second.claim("b" * 16) as other:
            assert (mine, too, other) == (True, False, True)
        save(first, "a" * 16)
    with second.claim("a" * 16) as mine:
        assert not mine


def test_a_failed_training_can_be_claimed_again(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    with pytest.raises(ZeroDivisionError), store.claim("a" * 16):
        _ = 1 // 0
    with store.claim("a" * 16) as mine:
        assert mine


def work_through(out: Path, keys: list[str], start: Barrier) -> None:
    """One of two processes on the same plan; it notes each training that it really does."""
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
    start = SPAWN.Barrier(2)
    workers = [SPAWN.Process(target=work_through, args=(tmp_path, order, start)) for order in (keys, keys[::-1])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert sorted((tmp_path / "done.txt").read_text().split()) == keys
    assert len(list((tmp_path / "runs").iterdir())) == 2 * len(keys)


def hold(out: Path, ready: Barrier) -> None:
    with ResultStore(out).claim("a" * 16):
        ready.wait(60)
        time.sleep(60)


def test_a_killed_process_gives_its_claim_back(tmp_path: Path) -> None:
    ready = SPAWN.Barrier(2)
    holder = SPAWN.Process(target=hold, args=(tmp_path, ready))
    holder.start()
    ready.wait(60)
    store = ResultStore(tmp_path)
    with store.claim("a" * 16) as mine:
        assert not mine
    holder.kill()
    holder.join()
    with store.claim("a" * 16) as mine:
        assert mine
