"""Names for the contents of files that are not the audio they should be, and for tags around audio."""

import re

_LFS_POINTER = b"version https://git-lfs"
_SIGNATURES = (
    (b"PK\x03\x04", "a zip file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip file"),
    (b"Rar!", "a RAR file"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff\xe0", "a JPEG picture"),
    (b"\xff\xd8\xff\xe1", "a JPEG picture"),
    (b"\x00\x05\x16\x07", "an AppleDouble file"),
)
_OTHER_AUDIO = (
    (0, b"#!AMR", "AMR audio"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM file"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "a Windows Media file"),
    (4, b"ftyp", "an MP4 or M4A file"),
)
_HTML = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_BEGINNING_SHOWN = 40
_TEXT_BYTES = 4096
"""Bytes that tell whether text follows."""
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""Byte-order marks of text in UTF-16."""
_TEXT_ENCODINGS = (*((mark, "utf-16") for mark in UTF16_MARKS), (b"\xef\xbb\xbf", "utf-8-sig"), (b"", "utf-8"))


def non_audio(head: bytes) -> str | None:
    """Name a content that is not audio, such as a web page that a server sent in place of a file.

    Args:
        head: The first bytes of a file, a few hundred of a longer one.

    Returns:
        The end of a sentence that starts with the path of the file, or None if the content may be audio.
    """
    if not head:
        return "is an empty file"
    if reason := other_file(head):
        return reason
    for place, signature, name in _OTHER_AUDIO:
        if head.startswith(signature, place):
            return f"is {name}; convert it to WAV or FLAC"
    if not any(head):
        return "is not audio, it begins with zero bytes only, as an interrupted copy does"
    if (text := _as_text(head)) is not None:
        beginning = " ".join(text.split())[:_BEGINNING_SHOWN]
        return f"is a text file, not audio; it begins with {beginning!r}"
    return None


def other_file(head: bytes) -> str | None:
    """Name a content that is neither audio nor a table, or return None. The arguments are those of `non_audio`."""
    if head.startswith(_LFS_POINTER):
        return "is a git-lfs pointer, not audio: run `git lfs pull` where it came from"
    if _HTML.match(head):
        return "is an HTML page, not audio: a server answered with it; download the file again"
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return f"is {name}, not audio"
    return None


def _as_text(head: bytes) -> str | None:
    """Return the text that a head holds, or None if a character of it is not printable."""
    encoding = next(encoding for mark, encoding in _TEXT_ENCODINGS if head.startswith(mark))
    whole = head[: len(head) - len(head) % 2] if encoding == "utf-16" else head
    try:
        text = whole.decode(encoding)
    except UnicodeDecodeError as error:
        if error.end < len(whole) or error.reason != "unexpected end of data":
            return None
        text = whole[: error.start].decode(encoding)  # a character that the end of the head cuts
    printable = all(character.isprintable() or character in "\t\r\n\f" for character in text)
    return text if printable and len(text) >= 16 else None


def tag_length(content: bytes, start: int) -> int:
    """Return the length of a tag (ID3, APE, Lyrics3) that begins at a place, or 0 if none does.

    ID3v2: id3.org, informal standard 2.4.0. ID3v1 has 128 bytes, its extension "TAG+" 227.
    """
    head = content[start : start + 32]
    if head.startswith(b"ID3") and len(head) >= 10 and not any(byte & 0x80 for byte in head[6:10]):
        size = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head.startswith(b"TAG+") and start + 227 <= len(content):
        return 227
    if head.startswith(b"TAG") and start + 128 <= len(content):
        return 128
    if head.startswith(b"APETAGEX") and len(head) == 32:
        size, flags = int.from_bytes(head[12:16], "little"), int.from_bytes(head[20:24], "little")
        return 32 + (size if flags & 0x20000000 else 0)  # a footer without its header is the end of a tag
    if head.startswith(b"LYRICSBEGIN"):
        ends = [content.find(mark, start) + 9 for mark in (b"LYRICS200", b"LYRICSEND") if mark in content[start:]]
        return min(ends, default=start) - start
    return 0


def after_tags(content: bytes, start: int = 0) -> int:
    """Return the first place at or after `start` that is not inside a tag."""
    while length := tag_length(content, start):
        start += length
    return start


def is_padding(content: bytes, start: int) -> bool:
    """Return whether only zeros, tags and text follow a place, such as the line break that a web form adds."""
    while start < len(content) and not _is_text(content[start : start + _TEXT_BYTES]):
        place = after_tags(content, first_nonzero(content, start))
        if place == start:
            return False
        start = place
    return True


def without_padding(content: bytes) -> int:
    """Return the end of a content without the zeros, line breaks and tags at its end."""
    end = len(content)
    while True:
        tail = max(end - _TEXT_BYTES, 0)
        shorter = tail + len(content[tail:end].rstrip(b"\0\r\n"))  # a tag may end with zeros too
        tag = content.rfind(b"TAG", max(shorter - 128, 0), shorter)
        footer = content.rfind(b"APETAGEX", max(shorter - 32, 0), shorter)
        if tag >= 0 and tag + 128 <= end:
            shorter = tag
        elif footer >= 0 and footer + 32 <= end:
            size, flags = (int.from_bytes(content[footer + at : footer + at + 4], "little") for at in (12, 20))
            shorter = max(footer + 32 - size - (32 if flags & 0x80000000 else 0), 0)
        if shorter >= end:
            return end
        end = shorter


def _is_text(rest: bytes) -> bool:
    return rest.isascii() and all(character.isprintable() or character.isspace() for character in rest.decode())


def first_nonzero(content: bytes, start: int) -> int:
    """Return the first place at or after `start` that is not zero, or the length of the content."""
    found = _NONZERO.search(content, start)
    return found.start() if found else len(content)


_NONZERO = re.compile(rb"[^\0]")
_STREAMS = (
    (b"fLaC", re.compile(rb"fLaC[\0\x80]\0\0\x22"), "FLAC"),
    (b"OggS", re.compile(rb"OggS\0[\2\6]"), "Ogg"),
    (b"WAVE", re.compile(rb"WAVE(fmt |bext|JUNK|LIST|fact)"), "WAV"),
    (b"COMM", re.compile(rb"COMM\0\0\0[\x12-\xff]"), "AIFF"),
)


def another_stream(content: bytes, start: int) -> str | None:
    """Return the format of an audio stream that begins after a place, or None if none does."""
    for mark, beginning, name in _STREAMS:
        place = content.find(mark, start)
        while place >= 0:
            if beginning.match(content, place):
                return name
            place = content.find(mark, place + 1)
    return None
