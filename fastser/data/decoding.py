"""Decoding of many audio files in parallel, each read once for its digest and its samples."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fastser.data.audio import AudioError, UnreadableError, Waveform, decode_streams, read_audio, streams_of
from fastser.data.container import AudioStream
from fastser.data.contents import UNREADABLE, is_short


@dataclass(frozen=True, slots=True)
class Decoded:
    """A file that was read once.

    Attributes:
        result: Waveform, float32 [samples], or the error that `decode` raises.
        digest: SHA-256 of the file. Where the file cannot be read, a text that begins with `UNREADABLE`.
    """

    result: Waveform | AudioError
    digest: str


def decode_all(paths: Sequence[Path], sample_rate: int, threads: int | None = None) -> Iterator[Decoded]:
    """Decode files in parallel, in order, and a bounded number of them ahead of the caller.

    Short files of 16-bit PCM at the wanted rate are decoded by the calling thread. Handing them to another thread takes
    longer than decoding them.

    Args:
        paths: Audio files that `decode` reads.
        sample_rate: Sample rate of the results in hertz.
        threads: Number of threads, by default one per core.

    Yields:
        For each path, the waveform or the error, and the digest of the file.
    """
    threads = threads or os.cpu_count() or 1
    ahead: deque[Decoded | Future[Decoded]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for path in paths:
            ahead.append(_begin(path, sample_rate, pool))
            while ahead and (len(ahead) > 2 * threads or _done(ahead[0])):
                yield _result(ahead.popleft())
        while ahead:
            yield _result(ahead.popleft())


def _begin(path: Path, sample_rate: int, pool: Executor) -> Decoded | Future[Decoded]:
    """Decode a file, or have another thread decode it."""
    if not is_short(path):
        return pool.submit(_decode_file, path, sample_rate)
    read = _read(path)
    if isinstance(read, Decoded):
        return read
    pcm_16 = read.streams[0].pcm_16
    if pcm_16 is not None and pcm_16.rate == sample_rate:
        return _decode(path, read, sample_rate)
    return pool.submit(_decode, path, read, sample_rate)


def _decode_file(path: Path, sample_rate: int) -> Decoded:
    read = _read(path)
    return read if isinstance(read, Decoded) else _decode(path, read, sample_rate)


@dataclass(frozen=True, slots=True)
class _Read:
    """A file that was read and checked, but not decoded."""

    streams: list[AudioStream]
    digest: str


def _read(path: Path) -> _Read | Decoded:
    """Read a file and divide it into streams. Return an error as its result."""
    try:
        content = read_audio(path)
    except UnreadableError as error:
        return Decoded(error, f"{UNREADABLE}{error.reason}")
    try:
        return _Read(streams_of(path, content), content.digest)
    except AudioError as error:
        return Decoded(error, content.digest)


def _decode(path: Path, read: _Read, sample_rate: int) -> Decoded:
    try:
        return Decoded(decode_streams(path, read.streams, sample_rate), read.digest)
    except AudioError as error:
        return Decoded(error, read.digest)


def _done(one: Decoded | Future[Decoded]) -> bool:
    return isinstance(one, Decoded) or one.done()


def _result(one: Decoded | Future[Decoded]) -> Decoded:
    return one if isinstance(one, Decoded) else one.result()
