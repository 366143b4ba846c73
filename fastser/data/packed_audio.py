"""Cache of decoded corpora: all waveforms end to end in one memory-mapped file, with a key of the files' contents."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastser.data.audio import AudioError, UnreadableError, decode_all, open_file
from fastser.data.cached_arrays import ArrayWriter, CachedArray
from fastser.runtime.digests import digest
from fastser.runtime.files import printable

_FORMAT = 2

_UNREADABLE = "unreadable: "
"""Beginning of what stands in place of the digest of a file that cannot be read."""


@dataclass(frozen=True, slots=True)
class PackedWaveforms:
    """Decoded recordings in one array, end to end.

    Attributes:
        samples: Memory-mapped float32 [samples], full scale 1.0.
        offsets: int64 [recordings + 1]. Recording i is `samples[offsets[i]:offsets[i + 1]]`.
        bad: Error message of each recording that could not be decoded, by index. Such a recording has no samples.
        key: Digest of the files' contents, the sample rate and the shortest length.
        digests: SHA-256 of each file, or empty where it is not known.
    """

    samples: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.int64]
    bad: dict[int, str]
    key: str
    digests: tuple[str, ...] = ()

    def without_bad(self) -> "PackedWaveforms":
        """Return the same samples without the recordings that could not be decoded."""
        bad = sorted(self.bad)
        digests = tuple(text for i, text in enumerate(self.digests) if i not in self.bad)
        return PackedWaveforms(self.samples, np.delete(self.offsets, bad), {}, digest(self.key, bad), digests)

    def __getitem__(self, index: int) -> npt.NDArray[np.float32]:
        return self.samples[self.offsets[index] : self.offsets[index + 1]]


def content_digests(paths: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of each file, computed in parallel, or the error message of a file that cannot be read."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(_content_digest, paths))


def _content_digest(path: Path) -> str:
    try:
        with open_file(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return f"{_UNREADABLE}{error.strerror}"


def pack(
    paths: Sequence[Path], sample_rate: int, min_samples: int = 1, on_file: Callable[[], None] = lambda: None
) -> PackedWaveforms:
    """Decode files in parallel and store the result in the cache, from which a second call reads it.

    Args:
        paths: Audio files.
        sample_rate: Sample rate of the result in hertz.
        min_samples: Shortest length. Shorter recordings are padded with zeros on the right (open question 4).
        on_file: Called after each decoded file, for a progress display.

    Returns:
        Recordings in the order of `paths`. Unusable files are listed in `bad`. The cache remembers verdicts on
        contents only: the next call reads again what the system did not let this one read.
    """
    digests = content_digests(paths)
    key = digest("waveforms", _FORMAT, sample_rate, min_samples, digests)
    array = CachedArray.named(f"waveforms-{key}")
    unread = {i for i, text in enumerate(digests) if text.startswith(_UNREADABLE)}
    index = None if unread else array.load()
    if index is None:
        with array.writing() as writer:
            index, unread_now = _decode(paths, sample_rate, min_samples, writer, on_file)
        unread |= unread_now
        if unread:
            key = digest(key, "unread", sorted(unread))
            array.data.replace(CachedArray.named(f"waveforms-{key}").data)
            array = CachedArray.named(f"waveforms-{key}")
        else:
            array.save_index(index, writer)
    offsets = np.asarray(index["offsets"], dtype=np.int64)
    bad = {int(i): f"{printable(paths[int(i)])}: {reason}" for i, reason in index["bad"].items()}
    return PackedWaveforms(array.map(), offsets, bad, key, tuple(digests))


def _decode(
    paths: Sequence[Path], sample_rate: int, min_samples: int, writer: ArrayWriter, on_file: Callable[[], None]
) -> tuple[dict[str, Any], set[int]]:
    """Decode files into a data file.

    Returns:
        Values of the index, and the indices of the files that the system did not let us read.
    """
    offsets = [0]
    bad: dict[int, str] = {}
    unread = set()
    for i, decoded in enumerate(decode_all(paths, sample_rate)):
        if isinstance(decoded, AudioError):
            bad[i] = decoded.reason
            offsets.append(offsets[-1])
            if isinstance(decoded, UnreadableError):
                unread.add(i)
        else:
            padded = np.pad(decoded, (0, max(min_samples - len(decoded), 0)))
            writer.append(padded)
            offsets.append(offsets[-1] + len(padded))
        on_file()
    return {"offsets": offsets, "bad": bad}, unread
