"""The cache folder, atomic writes and file locks."""

import contextvars
import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fastser.runtime.files import STALE_AFTER_SECONDS, atomic_write, cache_at, cache_dir, lock_file, remove_stale_parts


def in_a_thread(function: Callable[[], Path]) -> Path:
    """Return what a function returns in a thread of its own."""
    found: list[Path] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.fast
def test_the_environment_names_the_cache_folder(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_dir() == cache
    assert cache.is_dir()
    monkeypatch.delenv("FASTSER_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "user" / name))
    assert cache_dir() == tmp_path / "user" / "fastser"


@pytest.mark.fast
def test_cache_at_takes_precedence_within_its_block(cache: Path, tmp_path: Path) -> None:
    environment = dict(os.environ)
    with cache_at(tmp_path / "a" / "outer"):
        assert cache_dir() == tmp_path / "a" / "outer"
        assert cache_dir().is_dir()
        with cache_at(tmp_path / "inner"):
            assert cache_dir() == tmp_path / "inner"
        assert cache_dir() == tmp_path / "a" / "outer"
        assert dict(os.environ) == environment
    assert cache_dir() == cache


def test_cache_at_ends_with_an_exception(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), cache_at(tmp_path / "other"):
        raise ZeroDivisionError
    assert cache_dir() == cache


def test_a_thread_has_a_cache_folder_of_its_own(cache: Path, tmp_path: Path) -> None:
    def elsewhere() -> Path:
        with cache_at(tmp_path / "thread"):
            return cache_dir()

    with cache_at(tmp_path / "main"):
        context = contextvars.copy_context()
        assert in_a_thread(elsewhere) == tmp_path / "thread"
        assert in_a_thread(lambda: context.run(cache_dir)) == tmp_path / "main"
        assert in_a_thread(lambda: contextvars.Context().run(cache_dir)) == cache
        assert cache_dir() == tmp_path / "main"


def test_two_threads_use_two_folders_at_the_same_time(cache: Path, tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=60)
    found: dict[str, Path] = {}

    def use(name: str) -> None:
        with cache_at(tmp_path / name):
            both.wait()
            found[name] = cache_dir()
            both.wait()

    threads = [threading.Thread(target=use, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: tmp_path / name for name in ("one", "two")}
    assert cache_dir() == cache


def test_a_cache_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        cache_at(tmp_path / "file" / "cache"),
        pytest.raises(OSError, match=rf"cache folder {tmp_path}/file/cache: Not a directory.*\$FASTSER_CACHE"),
    ):
        cache_dir()


@pytest.mark.fast
def test_a_file_is_written_completely_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_write(path) as part:
        part.write_text("old")
        assert not path.exists()

    def fail() -> None:
        with atomic_write(path) as part:
            part.write_text("half of the new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    with path.open() as reader:
        with atomic_write(path) as part:
            part.write_text("new")
        assert reader.read() == "old"
    assert path.read_text() == "new"
    with atomic_write(path) as part, atomic_write(path) as other:
        part.write_text("first")
        other.write_text("second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_reaches_the_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    synced: list[tuple[int, bool]] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append((os.fstat(number).st_size, path.exists())))
    with atomic_write(path) as part:
        part.write_text("content")
    assert synced == [(len("content"), False)]


def test_the_error_of_a_full_disk_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught, atomic_write(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.txt")


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "nowhere" / "a.txt"):
        pass
    assert caught.value.filename == str(tmp_path / "nowhere" / "a.txt")


def test_a_lock_excludes_others_until_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"")
    with path.open("rb") as first, path.open("rb") as second:
        assert lock_file(first)
        assert not lock_file(second)
        first.close()
        assert lock_file(second)


def test_only_old_temporary_files_that_nobody_writes_are_removed(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in (".a.x.part", ".b.y.part", "a.part"))
    for path in (old, young, other):
        path.write_bytes(b"half")
    with atomic_write(tmp_path / "c") as part:
        for path in (old, other, part):
            os.utime(path, (time.time() - STALE_AFTER_SECONDS - 60,) * 2)
        remove_stale_parts(tmp_path)
        assert [path.exists() for path in (old, young, other, part)] == [False, True, True, True]
