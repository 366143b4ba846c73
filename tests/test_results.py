"""The results store: metrics, and what survives being killed, torn and shared."""

import json
import logging
import multiprocessing
import os
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

from fastser.metrics import ConditionResult
from fastser.results import ResultsError, ResultStore, TrainingId

SPAWN = multiprocessing.get_context("spawn")


def identity(key: str = "0123456789abcdef", repeat: int = 1) -> TrainingId:
    return TrainingId("source", "proposed", "speed+mixup", "Ses01F", repeat, "EMO-DB", key)


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
    old, young = tmp_path / "runs" / ".a.npz.x.part", tmp_path / "runs" / ".b.npz.y.part"
    for part in (old, young):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    ResultStore(tmp_path)
    assert not old.exists()
    assert young.exists()


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
