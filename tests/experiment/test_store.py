"""The results folder: records, failures, format, and files that are damaged or foreign."""

import json
import logging
import os
from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from invented_results import identity, result, save
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

from fastser.evaluation.metrics import METRICS, ConditionResult, Metric
from fastser.experiment import stored_runs
from fastser.experiment.finished_runs import finished_runs
from fastser.experiment.records import RECORD_FORMAT, content_of, text_of
from fastser.experiment.results_folder import ResultsError
from fastser.experiment.store import ResultStore
from fastser.experiment.stored_runs import Failure, StoredRuns


def files_in(out: Path) -> list[str]:
    """Return the names of the files of all runs, sorted."""
    return sorted(path.name for path in (out / "runs").iterdir())


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


@pytest.mark.fast
def test_saved_results_are_read_back(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    conditions = save(store)
    run = ResultStore(tmp_path).load(identity().key)
    assert run.id == identity()
    assert run.id.label == "EMO-DB: proposed, speed+mixup, fold Ses01F, repeat 1"
    assert run.metadata == {"seed": 7, "wall_seconds": 1.5, "settings": {"scale": "quick"}}
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


def test_only_finished_runs_are_collected_in_the_order_asked(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for key in ("a" * 16, "b" * 16, "c" * 16):
        save(store, key)
    asked = [identity("c" * 16), identity("d" * 16), identity("a" * 16)]
    assert [run.id.key for run in store.collect(asked)] == ["c" * 16, "a" * 16]


def test_reading_changes_nothing_and_reads_each_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, keys = ResultStore(tmp_path), ["a" * 16, "b" * 16]
    for key in keys:
        save(store, key)
    (part := tmp_path / "runs" / ".left.npz.part").write_bytes(b"")
    os.utime(part, (0, 0))  # old enough for a store that writes to remove it
    before = {path: path.stat().st_mtime_ns for path in (tmp_path, *tmp_path.rglob("*"))}
    read: list[str] = []
    monkeypatch.setattr(stored_runs, "content_of", lambda text: read.append(text) or content_of(text))
    assert [run.id.key for run in finished_runs(tmp_path)] == keys
    assert len(read) == 2
    assert {path: path.stat().st_mtime_ns for path in (tmp_path, *tmp_path.rglob("*"))} == before
    (empty := tmp_path / "empty" / "runs").mkdir(parents=True)
    assert finished_runs(empty.parent) == []
    assert list(empty.iterdir()) == []
    assert StoredRuns(tmp_path / "missing").find(keys[0]) is None


def test_loading_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"0123456789abcdef\.json.*no finished run"):
        ResultStore(tmp_path).load(identity().key)


@pytest.mark.parametrize("suffix", ["json", "npz"])
@pytest.mark.parametrize("damage", ["halved", "emptied", "garbled", "other"])
def test_a_damaged_file_gives_one_warning_and_is_overwritten(
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
    "no conditions": text_of({"identity": {}, "conditions": [], "metadata": {}}),
    "no checksum": "CHECKSUM",
    "a future format": "FORMAT",
    "a confusion matrix of another size": "SIZE",
    "a count that no int64 holds": "HUGE",
}


@pytest.mark.parametrize("content", FOREIGN)
def test_a_foreign_file_gives_one_warning_and_its_run_is_done_again(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = ResultStore(tmp_path)
    save(store)
    path = tmp_path / "runs" / f"{identity().key}.json"
    record = content_of(path.read_text())
    confusion = record["conditions"]["clean"]["confusion"]
    if content == "a confusion matrix of another size":
        del confusion[3]
    elif content == "a count that no int64 holds":
        confusion[0][0] = 10**30
    changed = json.loads(text_of(record))
    if content == "a future format":
        changed["format"] = 99
    elif content == "no checksum":
        del changed["checksum"]
    path.write_text(json.dumps(changed) if FOREIGN[content].isupper() else FOREIGN[content])
    for _ in range(2):
        assert not store.finished(identity().key)
    assert store.collect([identity()]) == []
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    assert ("its format is 99" in caplog.text) == (content == "a future format")


@pytest.mark.fast
@pytest.mark.parametrize(
    ("suffix", "old", "new", "reason"),
    [
        ("json", b'"wall_seconds": 1.5', b'"wall_seconds": 9.5', "its checksum is missing or wrong"),
        ("json", b'"seed": 7', b'"seed": 3', "its checksum is missing or wrong"),
        ("npz", b"clean/labels.npy", b"clean/labelt.npy", "the checksum of the .npz is wrong"),
    ],
)
def test_a_changed_byte_is_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, old: bytes, new: bytes, reason: str
) -> None:
    store = ResultStore(tmp_path)
    save(store)
    path = tmp_path / "runs" / f"{identity().key}.{suffix}"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(old, new))
    assert path.read_bytes() != whole
    assert not store.finished(identity().key)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path.with_suffix('.json')} or its .npz is unusable ({reason}); this run is done again."
    ]


def test_files_of_the_user_are_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
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


def test_a_failure_is_kept_until_the_run_succeeds(tmp_path: Path) -> None:
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
    assert files_in(tmp_path) == [f"{identity().key}.json", f"{identity().key}.npz", "format"]
    assert not store.checkpoint(identity().key).exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}', '{"id": {}, "reason": 1}', "OTHER"])
def test_a_foreign_failure_gives_one_warning_and_its_run_is_tried_again(
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


def test_files_that_a_kill_left_behind_are_removed_at_the_next_claim(tmp_path: Path) -> None:
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


def test_a_run_killed_between_its_two_files_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultStore(tmp_path)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, store.claim(identity().key):
        patch.setattr(Path, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            save(store)
    assert files_in(tmp_path) == [f"{identity().key}.lock", f"{identity().key}.npz", "format"]
    assert not store.finished(identity().key)
    with ResultStore(tmp_path).claim(identity().key) as mine:
        assert mine
        save(store)
    assert files_in(tmp_path) == [f"{identity().key}.json", f"{identity().key}.npz", "format"]


def test_metadata_that_json_cannot_hold_write_nothing(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for metadata in ({"loss": float("nan")}, {"loss": np.float32(1)}):
        with pytest.raises(ResultsError, match=r"repeat 1 are not plain JSON"):
            store.save(identity(), {"clean": result(0)}, metadata)
    assert files_in(tmp_path) == ["format"]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match=r"--out .*file/results cannot be written: Not a directory"):
        ResultStore(tmp_path / "file" / "results")


@pytest.mark.fast
def test_a_folder_of_an_earlier_format_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    record = {"format": 1, "key": identity().key, "identity": {}, "conditions": {}, "facts": {}}
    (tmp_path / "runs" / f"{identity().key}.json").write_text(json.dumps(record))
    with pytest.raises(ResultsError) as caught:
        ResultStore(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path} holds results of another version of fastser (format 1, ")
    assert f"writes format {RECORD_FORMAT}" in str(caught.value)
    with pytest.raises(ResultsError, match=r"another version of fastser \(format 1, "):
        finished_runs(tmp_path)
    assert str(caught.value).count("\n") == 0
    assert files_in(tmp_path) == [f"{identity().key}.json"]


def test_a_folder_of_a_later_format_is_refused(tmp_path: Path) -> None:
    ResultStore(tmp_path)
    (tmp_path / "runs" / "format").write_text("99\n")
    with pytest.raises(ResultsError, match=r"another version of fastser \(format 99, "):
        ResultStore(tmp_path)


@pytest.mark.parametrize("content", [None, "notes.txt"])
def test_a_folder_without_runs_is_taken_and_continued(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / content).write_text("by hand")
    save(ResultStore(tmp_path))
    assert (tmp_path / "runs" / "format").read_text() == f"{RECORD_FORMAT}\n"
    assert ResultStore(tmp_path).finished(identity().key)
    assert (tmp_path / "runs" / "format").read_text() == f"{RECORD_FORMAT}\n"


def confidence(found: ConditionResult) -> float:
    return float(found.posteriors.max(axis=1).mean())


@pytest.mark.parametrize("of", [confidence, attrgetter("accuracy")], ids=["own code", "code of a library"])
def test_a_metric_that_was_registered_later_is_computed_from_the_stored_posteriors(
    tmp_path: Path, of: Callable[[ConditionResult], float]
) -> None:
    conditions = save(ResultStore(tmp_path))
    with METRICS.including(Metric("own", "Own", of)):
        metrics = ResultStore(tmp_path).load(identity().key).metrics
    assert list(metrics) == list(conditions)
    for name, found in conditions.items():
        assert metrics[name] == {"uar": found.uar, "accuracy": found.accuracy, "own": of(found)}


def test_a_metric_of_own_code_is_never_taken_from_the_record(tmp_path: Path) -> None:
    with METRICS.including(Metric("confidence", "Confidence", confidence)):
        conditions = save(ResultStore(tmp_path))
    record = json.loads((tmp_path / "runs" / f"{identity().key}.json").read_text())
    assert record["conditions"]["clean"]["confidence"] == confidence(conditions["clean"])
    with METRICS.including(Metric("confidence", "Confidence", lambda found: 2 * confidence(found))):
        metrics = ResultStore(tmp_path).load(identity().key).metrics
    assert metrics["clean"]["confidence"] == 2 * confidence(conditions["clean"])


def test_recorded_metrics_of_fastser_are_read_without_the_posteriors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = save(ResultStore(tmp_path))
    monkeypatch.setattr(ResultStore, "posteriors", lambda *_: pytest.fail("the posteriors were read"))
    metrics = ResultStore(tmp_path).load(identity().key).metrics
    assert metrics["clean"] == {"uar": conditions["clean"].uar, "accuracy": conditions["clean"].accuracy}
