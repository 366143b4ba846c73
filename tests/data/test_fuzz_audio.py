"""Damaged audio files: `decode` gives correct samples or one error that names the file, in bounded time and memory.

A separate process with limited memory decodes the files. A crash of libsndfile, a hang and a header that declares
terabytes then fail one test instead of the test run.

All examples repeat: the hypothesis profile in conftest.py takes no random seeds, and a failure prints its `Edit`.
"""

import io
import math
import multiprocessing
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf
from hypothesis import given, settings

from fastser.data.audio import AudioError, decode
from fastser.data.packed_audio import pack
from fastser.runtime.files import cache_at

resource = pytest.importorskip("resource", reason="limits on memory need a POSIX system")

RATE = 16_000
SECONDS = 20.0
"""Time limit for one file of at most a few hundred kilobytes, on a busy machine."""
MEGABYTES = 1_024
"""Memory limit of the decoding process, including about 300 MB of address space for its libraries."""

Samples = npt.NDArray[np.float32]
Decode = Callable[[bytes], Samples | None]


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))


def decode_or_sentence(path: Path) -> Samples | str:
    """Return the samples of a file or the message of its `AudioError`. Any other exception fails the test."""
    try:
        return decode(path, RATE)
    except AudioError as error:
        return str(error)


def decode_each(path: Path, contents: list[bytes]) -> list[Samples | str]:
    """Return the samples or messages for many contents of one file."""
    return [decode_or_sentence(path) for content in contents if path.write_bytes(content)]


@pytest.fixture(scope="module")
def limited() -> Iterator[ProcessPoolExecutor]:
    """A process with limited memory."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            patch.setenv(name, "1")
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), limit_memory) as pool:
            pool.submit(limit_memory).result()  # the time limit is one of decoding, not of the start of the process
            yield pool


@pytest.fixture(scope="module")
def decoded(limited: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Decode:
    """A function that decodes a content within the limits, checks the samples, and returns None for a refused file."""
    path = tmp_path_factory.mktemp("fuzz") / "a.wav"

    def run(content: bytes) -> Samples | None:
        path.write_bytes(content)
        found = limited.submit(decode_or_sentence, path).result(timeout=SECONDS)
        if isinstance(found, str):
            assert found.startswith(f"{path}: ")
            assert "\n" not in found
            return None
        assert found.dtype == np.float32
        assert found.ndim == 1
        assert len(found)
        assert found.any()
        assert np.isfinite(found).all()
        assert np.abs(found).max() <= 32.0  # full scale is 1; twice what `decode` lets pass, for the resampler
        return found

    return run


def recording(channels: int, samples: int = 3_000) -> Samples:
    """Return sines with noise, without zeros."""
    time = np.arange(samples)[:, None]
    noise = np.random.default_rng(channels).uniform(-0.1, 0.1, (samples, channels))
    return (0.4 * np.sin(0.05 * time * (1 + np.arange(channels))) + noise).astype(np.float32)


def written(form: str, subtype: str | None, channels: int, rate: int) -> bytes:
    stream = io.BytesIO()
    name, _, endian = form.partition("-")
    sf.write(stream, recording(channels), rate, format=name, subtype=subtype, endian=endian or None)
    return stream.getvalue()


LINEAR = {
    f"{form} {subtype} {channels} {rate}": written(form, subtype, channels, rate)
    for form, subtype in (
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "PCM_U8"),
        ("WAV", "FLOAT"),
        ("WAV", "ULAW"),
        ("WAV-BIG", "PCM_16"),
        ("WAVEX", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AIFF-LITTLE", "PCM_16"),
    )
    for channels, rate in ((1, 16_000), (2, 22_050))
}
"""Uncompressed files. They have no checksum, but all fields of the header can be compared."""
CHECKED = {
    f"{form} {channels} {rate}": written(form, subtype, channels, rate)
    for form, subtype in (("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"))
    for channels, rate in ((1, 16_000), (2, 22_050))
}
"""Files with checksums."""
MP3 = {f"MP3 {channels}": written("MP3", None, channels, 16_000 * channels) for channels in (1, 2)}


def first_sample(content: bytes) -> int:
    """Return the position of the first sample of an uncompressed file."""
    return content.index(b"SSND" if content.startswith(b"FORM") else b"data") + (
        16 if content.startswith(b"FORM") else 8
    )


@dataclass(frozen=True)
class Edit:
    """Damage at a few places in the first `size` bytes of a file. Its repr repeats it."""

    kind: str
    size: int
    places: tuple[int, ...]
    value: int
    number: int
    bit: int
    length: int

    def __call__(self, content: bytes) -> bytes:
        changed = bytearray(content)
        for place in self.places:
            end = min(place + self.length, self.size)
            if self.kind == "flip":
                changed[place] ^= 1 << self.bit
            elif self.kind == "byte":
                changed[place] = self.value
            elif self.kind == "integer":
                field = struct.pack("<I", self.number)[: self.size - place]
                changed[place : place + len(field)] = field
            elif self.kind == "zero":
                changed[place:end] = bytes(end - place)
            elif place == self.places[0]:
                del changed[place:end]
        return bytes(changed)


def edits(size: int, most: int = 3) -> st.SearchStrategy[Edit]:
    """Return a strategy for flipped bits, overwritten bytes or fields, zeroed stretches or a removed stretch."""
    return st.builds(
        Edit,
        kind=st.sampled_from(["flip", "byte", "integer", "zero", "remove"]),
        size=st.just(size),
        places=st.lists(st.integers(0, size - 1), min_size=1, max_size=most).map(tuple),
        value=st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF]) | st.integers(0, 255),
        number=st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFF000]) | st.integers(0, 2**32 - 1),
        bit=st.integers(0, 7),
        length=st.integers(1, 64),
    )


@given(st.sampled_from([*LINEAR, *CHECKED, *MP3]), st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(decoded: Decode, name: str, share: float) -> None:
    """All of these formats declare their length."""
    content = (LINEAR | CHECKED | MP3)[name]
    assert decoded(content) is not None
    assert decoded(content[: int(share * len(content))]) is None
    assert decoded(content[:-1]) is None
    assert decoded(content[: math.ceil(40 * share)]) is None


@given(st.data(), st.sampled_from([*LINEAR]))
@settings(max_examples=4 * settings.default.max_examples)
def test_an_edit_in_the_header_of_an_uncompressed_file_is_harmless_or_detected(
    decoded: Decode, data: Any, name: str
) -> None:
    """Only one edit is made, because two can agree with each other, such as a rate and the bytes per second."""
    content = LINEAR[name]
    changed = data.draw(edits(first_sample(content), most=1))(content)
    found = decoded(changed)
    if found is None:
        return
    rate = sf.info(io.BytesIO(changed)).samplerate
    if rate != sf.info(io.BytesIO(content)).samplerate:
        assert abs(len(found) - len(recording(1)) * RATE / rate) <= 1
        assert content.startswith(b"FORM")  # an AIFF header has the rate only once
        return
    if any(coding in name for coding in ("FLOAT", "LAW", "U8")) and changed[20:22] != content[20:22]:
        assert len(found) == len(
            decoded(content)
        )  # the coding is there only once, and another coding can have the same width
        return
    np.testing.assert_array_equal(found, decoded(content))


@pytest.mark.parametrize("name", [*LINEAR, *(name for name in CHECKED if name.startswith("FLAC"))])
def test_no_flipped_bit_of_a_header_changes_the_samples(
    limited: ProcessPoolExecutor, tmp_path: Path, name: str
) -> None:
    """All bits are flipped, except those of fields without a second copy: the rate of AIFF and the coding of WAV."""
    content = (LINEAR | CHECKED)[name]
    once = (
        range(content.find(b"COMM") + 16, content.find(b"COMM") + 26) if content.startswith(b"FORM") else range(20, 22)
    )
    places = [p for p in range(first_sample(content) if name in LINEAR else 42) if p not in once or name in CHECKED]
    flipped = [content[:p] + bytes([content[p] ^ 1 << bit]) + content[p + 1 :] for p in places for bit in range(8)]
    whole, *found = limited.submit(decode_each, tmp_path / "a.wav", [content, *flipped]).result(timeout=3 * SECONDS)
    assert len(found) == len(flipped)
    assert not isinstance(whole, str)
    assert any(isinstance(one, str) for one in found)
    for number, one in enumerate(found):
        assert isinstance(one, str) or np.array_equal(one, whole), f"bit {number % 8} of byte {places[number // 8]}"


@given(st.data(), st.sampled_from([*LINEAR]))
def test_damaged_samples_change_nothing_around_them(decoded: Decode, data: Any, name: str) -> None:
    content = LINEAR[name]
    at = data.draw(st.integers(first_sample(content), len(content) - 1))
    changed = bytearray(content)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    found, whole = decoded(bytes(changed)), decoded(content)
    assert whole is not None
    if found is None:
        assert "FLOAT" in name
        return
    assert len(found) == len(whole)
    middle = (at - first_sample(content)) * len(whole) // (len(content) - first_sample(content))
    if name.endswith("16000"):  # not resampled
        assert set(np.flatnonzero(found != whole)) <= {middle}
    else:  # the filter of the resampler reaches far at less than -60 dB of the largest change
        far = np.abs(np.arange(len(whole)) - middle) > 200
        assert np.abs((found - whole)[far]).max() <= 1e-3 * max(np.abs(found - whole).max(), 1e-3)


@given(st.data(), st.sampled_from([*CHECKED]))
@settings(max_examples=4 * settings.default.max_examples)
def test_a_damaged_file_with_checksums_gives_the_same_samples_or_is_refused(
    decoded: Decode, data: Any, name: str
) -> None:
    content = CHECKED[name]
    size = data.draw(st.sampled_from([48, len(content)]))
    found = decoded(data.draw(edits(size))(content))
    if found is not None:
        np.testing.assert_array_equal(found, decoded(content))


@given(st.data(), st.sampled_from([*MP3]))
@settings(max_examples=2 * settings.default.max_examples)
def test_a_damaged_mp3_is_no_longer_than_its_bytes_allow(decoded: Decode, data: Any, name: str) -> None:
    """MP3 has no checksum, so damage can be audible, but time, memory and level stay bounded."""
    content = data.draw(edits(data.draw(st.sampled_from([64, len(MP3[name])]))))(MP3[name])
    found = decoded(content)
    if found is not None:
        rate = sf.info(io.BytesIO(content)).samplerate
        assert 8_000 <= rate <= 48_000
        assert len(found) <= (len(content) / 24 + 2) * 1_152 * RATE / rate  # the shortest frame has 24 bytes


@given(st.binary(max_size=200), st.sampled_from(["", *LINEAR, *CHECKED, *MP3]), st.integers(0, 60))
def test_a_file_that_only_begins_like_audio_is_refused_or_bounded(
    decoded: Decode, noise: bytes, name: str, keep: int
) -> None:
    content = (LINEAR | CHECKED | MP3).get(name, b"")[:keep] + noise
    found = decoded(content)
    if found is not None:
        assert len(found) <= 16 * 200 * 1_152


@pytest.mark.parametrize("name", [*LINEAR, *CHECKED, *MP3])
def test_a_header_that_declares_too_much_allocates_nothing(decoded: Decode, name: str) -> None:
    """Each field of the first bytes in turn is two billion, among them lengths, rates and numbers of channels."""
    content = (LINEAR | CHECKED | MP3)[name]
    whole = decoded(content)
    for place in range(4, 64):
        for largest in (b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"):
            found = decoded(content[:place] + largest + content[place + 4 :])
            assert found is None or len(found) <= 2 * len(whole), (place, largest)


def quirks(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "raw_quirks").iterdir() if path.suffix in (".wav", ".ogg", ".mp3"))


def test_damaged_originals_give_their_samples_or_are_refused(decoded: Decode, shared_corpora: Path) -> None:
    """Each file is truncated, and bits of its header and of its samples are flipped, at seeded places."""
    random = np.random.default_rng(5)
    for path in quirks(shared_corpora):
        content = path.read_bytes()[:150_000]
        whole = decoded(path.read_bytes())
        compressed = path.suffix != ".wav"
        if whole is None:
            assert content.startswith(b"version https://git-lfs")
            continue
        for _ in range(4):
            end = random.integers(len(content))
            cut = decoded(path.read_bytes()[:end])
            harmless = cut is None or (path.suffix == ".mp3" and len(cut) < len(whole))  # MP3 may omit its length
            assert harmless, f"{path.name} cut at byte {end}"
            changed = bytearray(path.read_bytes())
            at, bit = random.integers(44), int(random.integers(8))
            changed[at] ^= 1 << bit
            found = decoded(bytes(changed))
            harmless = found is None or compressed or changed[:4] == b"FORM" or np.array_equal(found, whole)
            assert harmless, f"{path.name} with bit {bit} of byte {at} flipped"
            changed = bytearray(path.read_bytes())
            at, bit = random.integers(4_096, len(changed)), int(random.integers(8))
            changed[at] ^= 1 << bit
            found = decoded(bytes(changed))
            assert found is None or len(found) == len(whole), f"{path.name} with bit {bit} of byte {at} flipped"


@given(st.data())
@settings(max_examples=settings.default.max_examples // 4)
def test_a_packed_corpus_holds_the_good_files_and_names_the_bad(
    limited: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    folder = tmp_path_factory.mktemp("pack")
    everything = LINEAR | CHECKED | MP3
    chosen = data.draw(st.lists(st.sampled_from([*everything]), min_size=1, max_size=5))
    paths = [folder / f"{number}.wav" for number in range(len(chosen))]
    for path, name in zip(paths, chosen, strict=True):
        content = everything[name]
        path.write_bytes(data.draw(edits(len(content)))(content) if data.draw(st.booleans()) else content)
    with cache_at(folder / "cache"):
        packed = pack(paths, RATE)
        again = pack(paths, RATE)
    assert packed.offsets.tolist() == again.offsets.tolist()
    assert packed.bad == again.bad
    assert np.array_equal(packed.samples, again.samples)
    assert packed.offsets[-1] == len(packed.samples)
    for number, path in enumerate(paths):
        alone = limited.submit(decode_or_sentence, path).result(timeout=SECONDS)
        if isinstance(alone, str):
            assert packed.bad[number] == alone
            assert len(packed[number]) == 0
        else:
            assert number not in packed.bad
            assert np.array_equal(packed[number], alone)
