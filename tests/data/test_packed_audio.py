"""Packed waveforms: equal to decoded files, cached by content, and rebuilt if a cached file is damaged."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from fastser.data.audio import decode, decode_streams
from fastser.data.contents import content_digests
from fastser.data.packed_audio import PackedWaveforms, pack

RATE = 16_000
LENGTHS = (1_000, 200, 3_000, 400)


@pytest.fixture
def files(tmp_path: Path, cache: Path) -> list[Path]:
    """Four recordings of `LENGTHS` samples."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.wav" for i in range(len(LENGTHS))]
    for path, length in zip(paths, LENGTHS, strict=True):
        sf.write(path, rng.uniform(-0.5, 0.5, length), RATE)
    return paths


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Decoded files, with one entry per decoding."""
    seen: list[Path] = []
    monkeypatch.setattr(
        "fastser.data.decoding.decode_streams",
        lambda path, streams, rate: (seen.append(path), decode_streams(path, streams, rate))[1],
    )
    return seen


def test_recordings_lie_end_to_end_as_decoded(files: Sequence[Path]) -> None:
    packed = pack(files, RATE)
    assert packed.samples.dtype == np.float32
    assert packed.offsets.tolist() == [0, *np.cumsum(LENGTHS)]
    assert packed.bad == {}
    for i, path in enumerate(files):
        assert np.array_equal(packed[i], decode(path, RATE))


def test_short_recordings_are_padded_on_the_right(files: Sequence[Path]) -> None:
    packed = pack(files, RATE, min_samples=400)
    assert np.diff(packed.offsets).tolist() == [1_000, 400, 3_000, 400]
    assert np.array_equal(packed[1], np.pad(decode(files[1], RATE), (0, 200)))


@pytest.mark.fast
def test_a_second_call_decodes_nothing(files: Sequence[Path], decoded: list[Path]) -> None:
    first = pack(files, RATE)
    assert sorted(decoded) == sorted(files)
    again = pack(files, RATE)
    assert len(decoded) == len(files)
    assert isinstance(again.samples, np.memmap)
    assert np.array_equal(first.samples, again.samples)
    assert first.key == again.key


@pytest.mark.parametrize("other", [False, True])
def test_the_first_call_reads_every_file_once(
    files: Sequence[Path], monkeypatch: pytest.MonkeyPatch, other: bool
) -> None:
    """Also where the cache holds other files, as long as their sizes differ."""
    if other:
        pack(files[::-1], RATE)
    opened: list[Path] = []
    open_path = Path.open

    def count(self: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(self)
        return open_path(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", count)
    packed = pack(files, RATE)
    assert [path for path in opened if path in files] == list(files)
    assert list(packed.digests) == [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def test_the_key_does_not_depend_on_folder_and_name_of_a_file(files: list[Path], decoded: list[Path]) -> None:
    files[3].write_bytes(b"")
    first = pack(files, RATE)
    decoded.clear()
    moved = [path.rename(path.with_name(f"moved-{path.name}")) for path in files]
    again = pack(moved, RATE)
    assert decoded == []
    assert again.key == first.key
    assert first.bad == {3: f"{files[3]}: is an empty file"}
    assert again.bad == {3: f"{moved[3]}: is an empty file"}


def test_the_key_depends_on_contents_settings_and_order(files: list[Path], decoded: list[Path]) -> None:
    keys = {pack(files, RATE).key, pack(files, 8_000).key, pack(files, RATE, 400).key, pack(files[::-1], RATE).key}
    content = bytearray(files[2].read_bytes())
    content[-1] ^= 1
    files[2].write_bytes(content)
    keys.add(pack(files, RATE).key)
    assert len(keys) == 5
    assert len(decoded) == 5 * len(files)


def test_unusable_files_are_named_and_have_no_samples(files: list[Path]) -> None:
    good = pack(files, RATE)
    files[0].write_text("version https://git-lfs.github.com/spec/v1\n")
    files[3].unlink()
    packed = pack(files, RATE)
    assert sorted(packed.bad) == [0, 3]
    assert packed.bad[0].startswith(f"{files[0]}: is a git-lfs pointer")
    assert packed.bad[3].startswith(f"{files[3]}: cannot be read")
    usable = packed.without_bad()
    assert usable.bad == {}
    assert [usable[i].tolist() for i in range(2)] == [good[1].tolist(), good[2].tolist()]
    assert len(usable.offsets) == 3
    assert len({good.key, packed.key, usable.key}) == 3


def test_a_corpus_of_unusable_files_has_no_samples(files: list[Path]) -> None:
    for path in files:
        path.write_bytes(b"")
    packed = pack(files, RATE)
    assert len(packed.bad) == len(files)
    assert len(packed.samples) == 0
    assert packed.without_bad().offsets.tolist() == [0]


def test_an_interrupted_decoding_leaves_no_files(files: Sequence[Path], cache: Path) -> None:
    seen = 0

    def interrupt() -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(files, RATE, on_file=interrupt)
    assert list(cache.iterdir()) == []
    assert len(pack(files, RATE).offsets) == len(files) + 1


def test_a_missing_file_is_decoded_again(files: Sequence[Path], cache: Path) -> None:
    samples = np.array(pack(files, RATE).samples)
    (lost,) = cache.glob("*.f32")
    lost.unlink()
    assert np.array_equal(pack(files, RATE).samples, samples)


@pytest.mark.parametrize("suffix", ["json", "f32"])
@pytest.mark.parametrize("damage", [b"", b"{}", None])
def test_a_damaged_file_is_decoded_again(files: Sequence[Path], cache: Path, suffix: str, damage: bytes | None) -> None:
    samples = np.array(pack(files, RATE).samples)
    (torn,) = cache.glob(f"*.{suffix}")
    torn.write_bytes(torn.read_bytes()[:-4] if damage is None else damage)
    packed = pack(files, RATE)
    assert np.array_equal(packed.samples, samples)
    assert packed.offsets[-1] == len(samples)


def test_calls_at_the_same_time_return_the_same(files: Sequence[Path], cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        results: list[PackedWaveforms] = list(pool.map(lambda _: pack(files, RATE), range(4)))
    assert all(np.array_equal(result.samples, results[0].samples) for result in results)
    assert sorted(path.suffix for path in cache.iterdir()) == [".f32", ".json"]


def test_progress_counts_usable_and_unusable_files(files: list[Path]) -> None:
    files[1].write_bytes(b"")
    counted: list[None] = []
    count: Callable[[], None] = lambda: counted.append(None)  # noqa: E731
    pack(files, RATE, on_file=count)
    assert len(counted) == len(files)


def test_digests_depend_on_the_content_only(tmp_path: Path) -> None:
    names = ("a", "b", "same as a")
    for name, content in zip(names, (b"a", b"b", b"a"), strict=True):
        (tmp_path / name).write_bytes(content)
    a, b, same, none, folder = content_digests([*(tmp_path / name for name in names), tmp_path / "none", tmp_path])
    assert a == same == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    assert len({a, b, none, folder}) == 4
