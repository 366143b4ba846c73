"""The cache holds verdicts on contents only: what the system did not let us read is read by the next call."""

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from fastser.data.audio import UnreadableError, decode
from fastser.data.packed_audio import PackedWaveforms, pack

RATE = 16_000
TROUBLE = 2
"""Index of the file that cannot be read for a moment."""


@pytest.fixture
def files(tmp_path: Path, cache: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.wav" for i in range(5)]
    for i, path in enumerate(paths):
        sf.write(path, np.random.default_rng(i).uniform(-0.5, 0.5, 1_000 + i), RATE)
    return paths


class FailingReads(io.BytesIO):
    """A file whose reads fail after the first."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(min(size or 64, 64) if size and size > 0 else 64)


@contextmanager
def away(path: Path, _patch: pytest.MonkeyPatch) -> Iterator[None]:
    path.rename(path.with_suffix(".away"))
    try:
        yield
    finally:
        path.with_suffix(".away").rename(path)


def opening_fails(number: int) -> Callable[[Path, pytest.MonkeyPatch], Any]:
    """Return a trouble in which the system refuses to open one file."""

    @contextmanager
    def trouble(path: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
        opened = Path.open

        def refuse(self: Path, *arguments: Any, **options: Any) -> Any:
            if self == path:
                raise OSError(number, os.strerror(number), str(self))
            return opened(self, *arguments, **options)

        with patch.context() as patched:
            patched.setattr(Path, "open", refuse)
            yield

    return trouble


@contextmanager
def reading_fails(path: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    opened = Path.open
    content = path.read_bytes()

    def fail_later(self: Path, *arguments: Any, **options: Any) -> Any:
        return FailingReads(content) if self == path else opened(self, *arguments, **options)

    with patch.context() as patched:
        patched.setattr(Path, "open", fail_later)
        yield


TROUBLES = {
    "away": away,
    "reading fails": reading_fails,
    **{
        errno.errorcode[number]: opening_fails(number)
        for number in (errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EIO, errno.ESTALE, errno.ETIMEDOUT)
    },
}


def assert_same(packed: PackedWaveforms, expected: PackedWaveforms) -> None:
    assert packed.bad == {}
    assert packed.key == expected.key
    np.testing.assert_array_equal(packed.samples, expected.samples)


@pytest.mark.parametrize("kind", TROUBLES)
@pytest.mark.parametrize("when", ["always", "after the digests"])
def test_a_file_that_could_not_be_read_is_read_by_the_next_call(
    files: list[Path], tmp_path: Path, kind: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("FASTSER_CACHE", str(tmp_path / "undisturbed"))
        expected = pack(files, RATE)
    if when == "always":
        with TROUBLES[kind](files[TROUBLE], monkeypatch):
            packed = pack(files, RATE)
    else:
        packed = pack_with_trouble_after_digests(files, kind, monkeypatch)
    assert list(packed.bad) == [TROUBLE]
    assert packed.bad[TROUBLE].startswith(f"{files[TROUBLE]}: cannot be read (")
    assert len(packed.samples) == len(expected.samples) - len(expected[TROUBLE])
    assert packed.key != expected.key
    assert_same(pack(files, RATE), expected)
    assert_same(pack(files, RATE), expected)


def pack_with_trouble_after_digests(files: list[Path], kind: str, monkeypatch: pytest.MonkeyPatch) -> PackedWaveforms:
    """Read digests, because the cache holds files of the same sizes, and then meet the trouble."""
    from fastser.data import packed_audio

    content = files[0].read_bytes()
    files[0].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    pack(files, RATE)
    files[0].write_bytes(content)
    digests = packed_audio.content_digests(files)
    with monkeypatch.context() as patched:
        patched.setattr(packed_audio, "content_digests", lambda _: digests)
        with TROUBLES[kind](files[TROUBLE], patched):
            return pack(files, RATE)


@pytest.mark.parametrize("kind", TROUBLES)
def test_a_file_that_cannot_be_read_is_not_called_damaged(
    files: list[Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TROUBLES[kind](files[0], monkeypatch), pytest.raises(UnreadableError, match=r"0.wav: cannot be read \("):
        decode(files[0], RATE)
    assert len(decode(files[0], RATE)) == 1_000


def test_a_verdict_on_contents_is_cached(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    files[TROUBLE].write_bytes(files[TROUBLE].read_bytes()[:-1])
    first = pack(files, RATE)
    monkeypatch.setattr("fastser.data.packed_audio.decode_all", None)
    assert pack(files, RATE).bad == first.bad
    assert "is truncated" in first.bad[TROUBLE]
