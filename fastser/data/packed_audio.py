"""Cache of decoded corpora: all waveforms end to end in one memory-mapped file, with a key of the files' contents."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastser.data.audio import AudioError
from fastser.data.cached_arrays import ArrayWriter, CachedArray
from fastser.data.contents import UNREADABLE, content_digests, file_size
from fastser.data.decoding import decode_all
from fastser.runtime.digests import digest
from fastser.runtime.files import cache_dir, printable

_FORMAT = 2


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
    sizes = digest("sizes", _FORMAT, sample_rate, min_samples, [file_size(path) for path in paths])
    cached = _cached(paths, sizes, sample_rate, min_samples)
    if cached is None:
        cached = _decoded(paths, sizes, sample_rate, min_samples, on_file)
    array, index, key, digests = cached
    offsets = np.asarray(index["offsets"], dtype=np.int64)
    bad = {int(i): f"{printable(paths[int(i)])}: {reason}" for i, reason in index["bad"].items()}
    return PackedWaveforms(array.map(), offsets, bad, key, tuple(digests))


_Packed = tuple[CachedArray, dict[str, Any], str, list[str]]
"""Array, values of its index, key and digests of the files."""


def _cached(paths: Sequence[Path], sizes: str, sample_rate: int, min_samples: int) -> _Packed | None:
    """Return the waveforms of files from the cache, or None if they must be decoded.

    The files are read only if the cache holds the waveforms of files of the same sizes. Otherwise one reading gives
    both samples and digests.
    """
    if not any(cache_dir().glob(f"{_name(sizes, '*')}.json")):
        return None
    digests = content_digests(paths)
    key = _key(sample_rate, min_samples, digests)
    array = CachedArray.named(_name(sizes, key))
    index = None if any(text.startswith(UNREADABLE) for text in digests) else array.load()
    return None if index is None else (array, index, key, digests)


def _decoded(
    paths: Sequence[Path], sizes: str, sample_rate: int, min_samples: int, on_file: Callable[[], None]
) -> _Packed:
    """Decode files into the cache. The index is written only if every file could be read."""
    new = CachedArray.unnamed()
    with new.writing() as writer:
        index, digests = _decode(paths, sample_rate, min_samples, writer, on_file)
    key = _key(sample_rate, min_samples, digests)
    unread = [i for i, text in enumerate(digests) if text.startswith(UNREADABLE)]
    if unread:
        key = digest(key, "unread", unread)
    array = CachedArray.named(_name(sizes, key))
    new.move_to(array)
    if not unread:
        array.save_index(index, writer)
    return array, index, key, digests


def _key(sample_rate: int, min_samples: int, digests: Sequence[str]) -> str:
    return digest("waveforms", _FORMAT, sample_rate, min_samples, list(digests))


def _name(sizes: str, key: str) -> str:
    """Return the name in the cache of waveforms from files of some sizes and contents."""
    return f"waveforms-{sizes}_{key}"


def _decode(
    paths: Sequence[Path], sample_rate: int, min_samples: int, writer: ArrayWriter, on_file: Callable[[], None]
) -> tuple[dict[str, Any], list[str]]:
    """Decode files into a data file.

    Returns:
        Values of the index, and the digest of each file.
    """
    offsets = [0]
    bad: dict[int, str] = {}
    digests = []
    for i, decoded in enumerate(decode_all(paths, sample_rate)):
        digests.append(decoded.digest)
        if isinstance(decoded.result, AudioError):
            bad[i] = decoded.result.reason
            offsets.append(offsets[-1])
        else:
            missing = max(min_samples - len(decoded.result), 0)
            padded = np.pad(decoded.result, (0, missing)) if missing else decoded.result
            writer.append(padded)
            offsets.append(offsets[-1] + len(padded))
        on_file()
    return {"offsets": offsets, "bad": bad}, digests
