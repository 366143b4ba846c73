"""Every format gives all of its samples and no padding, or one sentence that refuses the file."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf

from fastser.data.audio import AudioError, decode

RATE = 16_000
LENGTH = 50_000
DECODER_DELAY = 529
"""Samples that an MP3 decoder delays, and that no encoder counts."""
ID3 = b"ID3\x03\0\0\0\0\x07\x76" + bytes(1_014)
ID3V1 = b"TAG" + bytes(125)
APE = b"APETAGEX" + struct.pack("<IIII", 2_000, 32, 0, 0xA0000000) + bytes(8) + bytes(32)


def sound(length: int = LENGTH, seed: int = 0) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(seed).standard_normal(length)
    loud = np.arange(length) // 5_000 % 2  # changing bit rates, from which no average can be estimated
    return (0.3 * np.sin(np.arange(length) / 7) * (1 - loud) + 0.05 * noise * loud).astype(np.float32)


def written(form: str, subtype: str | None = None, length: int = LENGTH, rate: int = RATE, channels: int = 1) -> bytes:
    samples = np.stack([sound(length)] * channels, axis=1)
    if form == "MP3":
        stream = io.BytesIO()
        with sf.SoundFile(stream, "w", rate, channels, format="MP3", bitrate_mode="VARIABLE") as file:
            file.write(samples)
        return stream.getvalue()
    return on_disk(samples, rate, form, subtype)


def on_disk(samples: npt.NDArray[np.float32], rate: int, form: str, subtype: str | None) -> bytes:
    """Return what libsndfile writes to a file; some codings cannot be written to memory."""
    path = Path(on_disk.folder) / "written"  # type: ignore[attr-defined]
    sf.write(path, samples, rate, format=form, subtype=subtype)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    on_disk.folder = tmp_path  # type: ignore[attr-defined]


@pytest.fixture
def decoded(tmp_path: Path) -> Callable[..., npt.NDArray[np.float32]]:
    """Decode a content."""

    def run(content: bytes, rate: int = RATE) -> npt.NDArray[np.float32]:
        path = tmp_path / "a.audio"
        path.write_bytes(content)
        return decode(path, rate)

    return run


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[[bytes], str]:
    """Return the sentence that refuses a content, without the path."""

    def run(content: bytes) -> str:
        path = tmp_path / "a.audio"
        path.write_bytes(content)
        with pytest.raises(AudioError, match=f"^{path}: ") as caught:
            decode(path, RATE)
        assert "\n" not in str(caught.value)
        return caught.value.reason

    return run


def frame_size(content: bytes) -> int:
    """Return the size of the first MPEG frame."""
    newest = content[1] >> 3 & 3 == 3
    kbit = (
        (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
        (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    )
    rates = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
    rate = rates[content[1] >> 3 & 3][content[2] >> 2 & 3]
    return (144 if newest else 72) * kbit[newest][content[2] >> 4] * 1_000 // rate + (content[2] >> 1 & 1)


def frames_of(content: bytes) -> list[bytes]:
    frames = []
    while content:
        frames.append(content[: frame_size(content)])
        content = content[len(frames[-1]) :]
    return frames


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_mp3_without_a_header_frame_gives_every_frame(
    decoded: Callable[..., npt.NDArray[np.float32]], rate: int, channels: int
) -> None:
    whole = written("MP3", length=2 * rate, rate=rate, channels=channels)
    frames = frames_of(whole)[1:]
    found = decoded(b"".join(frames), rate)
    assert len(found) == len(frames) * (1_152 if rate > 24_000 else 576) - DECODER_DELAY
    kept = decoded(whole, rate)
    assert len(kept) == 2 * rate
    delay = next(d for d in range(1, 2_000) if np.allclose(found[d + 3_000 : d + 4_000], kept[3_000:4_000], atol=1e-4))
    assert delay < 1_200  # the encoder's delay, which only the header frame declares


@pytest.mark.parametrize(
    ("before", "between", "after"),
    [
        (b"", b"", b""),
        (ID3, ID3, b""),
        (ID3, ID3V1 + ID3, ID3V1),
        (b"", APE, APE + ID3V1),
        (b"", ID3V1 + b"", bytes(700)),
    ],
)
def test_joined_mp3_files_follow_each_other(
    decoded: Callable[..., npt.NDArray[np.float32]], before: bytes, between: bytes, after: bytes
) -> None:
    one, two = written("MP3"), written("MP3", length=30_000)
    found = decoded(before + one + between + two + after)
    np.testing.assert_array_equal(found, np.concatenate([decoded(one), decoded(two)]))
    assert len(found) == LENGTH + 30_000


def test_joined_mp3_files_without_header_frames_give_every_frame(
    decoded: Callable[..., npt.NDArray[np.float32]],
) -> None:
    frames = frames_of(written("MP3"))[1:]
    assert len(decoded(b"".join(frames + frames))) == 2 * len(frames) * 576 - DECODER_DELAY
    assert len(decoded(b"".join(frames) + ID3V1 + b"".join(frames))) == 2 * len(frames) * 576 - DECODER_DELAY


@pytest.mark.parametrize(("difference", "whole"), [(-20, True), (-1, True), (1, True), (2, False), (1_000, False)])
def test_a_wrong_count_of_mpeg_frames_loses_nothing(
    decoded: Callable[..., npt.NDArray[np.float32]],
    refusal: Callable[[bytes], str],
    difference: int,
    whole: bool,
) -> None:
    content = bytearray(written("MP3"))
    place = max(content.find(b"Xing"), content.find(b"Info")) + 8
    (count,) = struct.unpack(">I", content[place : place + 4])
    content[place : place + 4] = struct.pack(">I", count + difference)
    if whole:
        assert len(decoded(bytes(content))) == count * 576 - DECODER_DELAY
    else:
        assert refusal(bytes(content)) == f"is truncated, it has {count} of {count + difference} MPEG frames"


@pytest.mark.parametrize("drop", [1, 40])
def test_mp3_that_lost_its_last_frames_is_refused(refusal: Callable[[bytes], str], drop: int) -> None:
    frames = frames_of(written("MP3"))
    assert "is truncated" in refusal(b"".join(frames[:-drop]))
    assert "is truncated" in refusal(b"".join(frames)[:-1])
    assert "is truncated" in refusal(b"".join(frames[1:])[:-1])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda one: one + written("MP3", rate=44_100), "joins streams of 16000 Hz (mono) and 44100 Hz (mono)"),
        (lambda one: one + written("MP3", channels=2), "joins streams of 16000 Hz (mono) and 16000 Hz (stereo)"),
        (lambda one: one[:3_000] + bytes(3_000) + one[6_000:], "begins neither an MPEG frame nor a tag"),
        (lambda one: one + np.random.default_rng(0).bytes(3_000), "begins neither an MPEG frame nor a tag"),
        (lambda one: b"\xff\xfd\x90\xc4" + bytes(417), "is MPEG audio of layer II"),
        (lambda one: b"\xff\xff\x90\xc4" + bytes(417), "is MPEG audio of layer I,"),
        (lambda one: b"\xff\xfb\x00\xc4" + bytes(417), "is MP3 of a free bit rate"),
    ],
)
def test_mpeg_audio_whose_length_is_not_safe_is_refused(
    refusal: Callable[[bytes], str], content: Callable[[bytes], bytes], sentence: str
) -> None:
    assert sentence in refusal(content(written("MP3")))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("lengths", [(LENGTH, 30_000), (LENGTH, LENGTH, 8_000)])
def test_chained_ogg_streams_follow_each_other(
    decoded: Callable[..., npt.NDArray[np.float32]], subtype: str, lengths: tuple[int, ...]
) -> None:
    links = [written("OGG", subtype, length) for length in lengths]
    np.testing.assert_array_equal(decoded(b"".join(links)), np.concatenate([decoded(link) for link in links]))
    assert len(decoded(b"".join(links))) == sum(lengths)


def pages_of(content: bytes) -> list[bytes]:
    pages = []
    while content:
        size = 27 + content[26] + sum(content[27 : 27 + content[26]])
        pages.append(content[:size])
        content = content[size:]
    return pages


def test_ogg_pages_that_are_missing_or_interleaved_are_refused(refusal: Callable[[bytes], str]) -> None:
    one, two = (pages_of(written("OGG", "VORBIS", length)) for length in (LENGTH, 40_000))
    assert refusal(b"".join(one[:3] + one[4:])) == "is damaged, the page after page 2 is missing"
    assert "interleaves several Ogg streams" in refusal(b"".join([one[0], two[0], *one[1:], *two[1:]]))
    assert "last page is missing" in refusal(b"".join(one[:-1] + two))
    assert "a page follows the last page" in refusal(b"".join([*one, *two[1:]]))
    assert "joins streams of 8000 Hz" in refusal(b"".join(one) + written("OGG", "VORBIS", rate=8_000))
    assert "no Ogg page begins" in refusal(b"".join(one) + written("FLAC"))


SECOND_STREAMS = ("WAV", "FLAC", "AIFF", "OGG")


@pytest.mark.parametrize("form", ["WAV", "AIFF", "FLAC"])
@pytest.mark.parametrize("second", [*SECOND_STREAMS, "MP3"])
def test_another_stream_after_the_first_is_refused(refusal: Callable[[bytes], str], form: str, second: str) -> None:
    sentence = refusal(written(form) + written(second, length=20_000))
    assert "followed by" in sentence or "follow the end that it declares" in sentence


@pytest.mark.parametrize("form", ["WAV", "AIFF", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize(("before", "after"), [(ID3, b""), (b"", ID3V1), (b"", APE), (b"", bytes(900)), (ID3, b"\r\n")])
def test_tags_and_padding_around_a_stream_change_nothing(
    decoded: Callable[..., npt.NDArray[np.float32]], form: str, before: bytes, after: bytes
) -> None:
    content = written(form)
    np.testing.assert_array_equal(decoded(before + content + after), decoded(content))


def with_fact(content: bytes, samples: int | None) -> bytes:
    place = content.index(b"fact")
    if samples is None:
        return content[:place] + b"junk" + content[place + 4 :]
    return content[: place + 8] + struct.pack("<I", samples) + content[place + 12 :]


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610"])
@pytest.mark.parametrize("length", [49_999, 50_000, 333])
def test_block_codings_give_the_declared_samples_without_padding(
    decoded: Callable[..., npt.NDArray[np.float32]], refusal: Callable[[bytes], str], subtype: str, length: int
) -> None:
    content = with_fact(written("WAV", subtype, length), length)
    assert len(decoded(content)) == length
    assert "is truncated" in refusal(with_fact(content, length + 5_000))
    assert "does not declare how many samples" in refusal(with_fact(content, None))
    if length > 5_000:
        assert "contradicts itself" in refusal(with_fact(content, 5_000))


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM"])
def test_block_codings_of_two_channels_give_the_declared_samples(
    decoded: Callable[..., npt.NDArray[np.float32]], subtype: str
) -> None:
    assert len(decoded(with_fact(written("WAV", subtype, 49_999, channels=2), 49_999))) == 49_999


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("WAV", "G721_32"), ("WAV", "NMS_ADPCM_16"), ("AIFF", "IMA_ADPCM"), ("AIFF", "GSM610")],
)
def test_codings_that_do_not_declare_their_length_are_refused_by_name(
    refusal: Callable[[bytes], str], form: str, subtype: str
) -> None:
    assert (
        refusal(written(form, subtype, rate=8_000)) == f"is {form} audio coded as {subtype}; convert it to WAV or FLAC"
    )


@pytest.mark.parametrize("length", [49_998, 50_000])
@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        *(("WAV", name) for name in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")),
        *(("AIFF", name) for name in ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "ALAW")),
        *(("WAVEX", name) for name in ("PCM_16", "PCM_24", "FLOAT")),
        *(("FLAC", name) for name in ("PCM_S8", "PCM_16", "PCM_24")),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", None),
    ],
)
def test_every_accepted_coding_has_its_true_length(
    decoded: Callable[..., npt.NDArray[np.float32]], form: str, subtype: str | None, length: int
) -> None:
    assert len(decoded(written(form, subtype, length))) == length


def test_a_second_chunk_of_samples_is_refused(refusal: Callable[[bytes], str]) -> None:
    one = written("WAV", "PCM_16")
    both = one + one[36:]
    assert "second chunk of samples" in refusal(both[:4] + struct.pack("<I", len(both) - 8) + both[8:])
    assert "second chunk of samples" in refusal(both)  # beyond the declared end
    aiff = written("AIFF", "PCM_16")
    both = aiff + aiff[aiff.index(b"SSND") :]
    assert "second chunk of samples" in refusal(both[:4] + struct.pack(">I", len(both) - 8) + both[8:])


def test_lengths_that_are_wrong_together_are_refused(refusal: Callable[[bytes], str]) -> None:
    """A recorder that was switched off had written both lengths some time before."""
    one = written("WAV", "PCM_16")
    wrong = one[:4] + struct.pack("<I", 10_036) + one[8:40] + struct.pack("<I", 10_000) + one[44:]
    assert refusal(wrong).endswith("90000 bytes follow the end that it declares")


def test_two_joined_files_of_a_streaming_writer_are_refused(refusal: Callable[[bytes], str]) -> None:
    one = written("WAV", "PCM_16")
    streamed = one[:4] + b"\xff\xff\xff\xff" + one[8:40] + b"\xff\xff\xff\xff" + one[44:]
    assert "followed by another WAV stream" in refusal(streamed + streamed)


@pytest.mark.parametrize("samples", [30_000, 49_999])
@pytest.mark.parametrize("checksum", [True, False])
def test_flac_with_more_frames_than_declared_samples_is_refused(
    decoded: Callable[..., npt.NDArray[np.float32]], refusal: Callable[[bytes], str], samples: int, checksum: bool
) -> None:
    content = written("FLAC", "PCM_16")
    md5 = content[26:42] if checksum else bytes(16)
    assert len(decoded(content[:26] + md5 + content[42:])) == LENGTH
    fields = (int.from_bytes(content[18:26]) & ~((1 << 36) - 1) | samples).to_bytes(8)
    assert f"{samples} samples, but its last frame ends at sample 50000" in refusal(
        content[:18] + fields + md5 + content[42:]
    )
