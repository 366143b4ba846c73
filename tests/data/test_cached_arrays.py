"""Writing of cached arrays: order and checksum of the values, durability before the index, errors of the thread."""

import errno
import os
import zlib
from pathlib import Path

import numpy as np
import pytest

from fastser.data.cached_arrays import CachedArray

SIZES = (3, 700_000, 1, 0, 1_500_000, 20, 300_000)
"""Values that are appended at a time: below, above and at the size of a block."""


def parts() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(size, dtype=np.float32) for size in SIZES]


def write(array: CachedArray) -> np.ndarray:
    """Write the parts and the index, and return all values."""
    with array.writing() as writer:
        for part in parts():
            writer.append(part)
    array.save_index("index", writer)
    return np.concatenate(parts())


@pytest.mark.fast
def test_the_file_holds_the_values_in_order(cache: Path) -> None:
    array = CachedArray.named("a")
    values = write(array)
    np.testing.assert_array_equal(np.fromfile(array.data, np.float32), values)
    assert array.load() == "index"
    assert zlib.crc32(array.data.read_bytes()) == zlib.crc32(values.tobytes())
    assert sorted(path.name for path in cache.iterdir()) == ["a.f32", "a.json"]


def test_all_values_are_on_the_disk_before_the_index_is_written(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[int, bool, bool]] = []
    array = CachedArray.named("a")
    monkeypatch.setattr(
        os,
        "fsync",
        lambda number: synced.append((os.fstat(number).st_size, array.data.exists(), array.index.exists())),
    )
    size = write(array).nbytes
    *during, last, index = synced
    assert [done for done, *_ in during] == sorted({done for done, *_ in during})
    assert len(during) >= 1
    assert last == (size, False, False)
    assert index[1:] == (True, False)


@pytest.mark.parametrize("after", [0, 2])
def test_an_error_of_the_disk_reaches_the_caller_and_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    calls: list[int] = []

    def fail(number: int) -> None:
        calls.append(number)
        if len(calls) > after:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error") as caught:
        write(CachedArray.named("a"))
    assert str(caught.value.filename).startswith(str(cache))
    assert [path for path in cache.iterdir() if path.suffix != ".f32"] == []


@pytest.mark.fast
def test_an_array_gets_its_name_when_its_contents_are_known(cache: Path) -> None:
    new, named = CachedArray.unnamed(), CachedArray.named("a")
    with new.writing() as writer:
        writer.append(np.ones(5, np.float32))
    new.move_to(named)
    assert named.load() is None
    named.save_index([5], writer)
    assert named.load() == [5]
    np.testing.assert_array_equal(named.map(), np.ones(5))
    assert sorted(path.name for path in cache.iterdir()) == ["a.f32", "a.json"]
