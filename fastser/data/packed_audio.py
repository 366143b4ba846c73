"""Cache of decoded corpora: all waveforms end to end in one memory-mapped file, with a key of the files' contents."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastser.data.audio import AudioError, decode_all, open_file
from fastser.runtime.digests import digest
from fastser.runtime.files import atomic_write, cache_dir

_FORMAT = 2


@dataclass(frozen=True, slots=True)
class PackedWaveforms:
    """Decoded recordings in one array, end to end.

    Attributes:
        samples: Memory-mapped float32 [samples], full scale 1.0.
        offsets: int64 [recordings + 1]. Recording i is `samples[offsets[i]:offsets[i + 1]]`.
        bad: Error message of each recording that could not be decoded, by index. Such a recording has no samples.
        key: Digest of the files' contents, the sample rate and the shortest length.
    """

    samples: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.int64]
    bad: dict[int, str]
    key: str

    def without_bad(self) -> "PackedWaveforms":
        """Return the same samples without the recordings that could not be decoded."""
        bad = sorted(self.bad)
        return PackedWaveforms(self.samples, np.delete(self.offsets, bad), {}, digest(self.key, bad))

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
        return f"unreadable: {error.strerror}"


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
        Recordings in the order of `paths`. Unusable files are listed in `bad`.
    """
    key = digest("waveforms", _FORMAT, sample_rate, min_samples, content_digests(paths))
    samples_path = cache_dir() / f"waveforms-{key}.f32"
    index_path = cache_dir() / f"waveforms-{key}.json"
    index = cached_index(index_path, samples_path, lambda index: 4 * index["offsets"][-1])
    if index is None:
        _decode(paths, sample_rate, min_samples, samples_path, index_path, on_file)
        index = json.loads(index_path.read_text())
    offsets = np.asarray(index["offsets"], dtype=np.int64)
    bad = {int(i): f"{paths[int(i)]}: {reason}" for i, reason in index["bad"].items()}
    samples = np.memmap(samples_path, np.float32, "c") if offsets[-1] else np.empty(0, np.float32)
    return PackedWaveforms(samples, offsets, bad, key)


def cached_index(index_path: Path, data_path: Path, size: Callable[[Any], int]) -> Any:
    """Read the JSON index of a cached data file.

    Args:
        index_path: Index.
        data_path: Data file that the index describes.
        size: Computes the size in bytes that the data file must have from the index.

    Returns:
        Index, or None if one of the files is missing or damaged, or if the data file has another size.
    """
    try:
        index = json.loads(index_path.read_text())
        return index if data_path.stat().st_size == size(index) else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _decode(
    paths: Sequence[Path],
    sample_rate: int,
    min_samples: int,
    samples_path: Path,
    index_path: Path,
    on_file: Callable[[], None],
) -> None:
    offsets = [0]
    bad: dict[int, str] = {}
    with atomic_write(samples_path) as part, part.open("wb") as stream:
        for i, decoded in enumerate(decode_all(paths, sample_rate)):
            if isinstance(decoded, AudioError):
                bad[i] = str(decoded).removeprefix(f"{paths[i]}: ")
                offsets.append(offsets[-1])
            else:
                padded = np.pad(decoded, (0, max(min_samples - len(decoded), 0)))
                stream.write(padded.tobytes())
                offsets.append(offsets[-1] + len(padded))
            on_file()
    with atomic_write(index_path) as part:
        part.write_text(json.dumps({"offsets": offsets, "bad": bad}))
