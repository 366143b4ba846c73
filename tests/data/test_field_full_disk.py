"""A full disk is one sentence with file, free space and advice, at every stage. Nothing half-written stays."""

import errno
import os
import re
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from processes import Command

from fastser.data.corpora import read_noise
from fastser.data.corpora.synthetic import generate, layouts
from fastser.data.cutting import cut, read_segments
from fastser.data.packed_audio import pack
from fastser.data.segments import build_bank
from fastser.runtime.files import DiskFullError, atomic_write, cache_dir, naming_full_disk
from fastser.settings import PAPER

resource = pytest.importorskip("resource", reason="limits on the size of files need a POSIX system")

RATE = 16_000
SENTENCE = re.compile(
    r"(\[Errno \d+\] )?(No space left on device|Disk quota exceeded|File too large) \(\d+\.\d MB are free\); "
)


def write_recordings(folder: Path) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{i}.wav" for i in range(3)]
    for i, path in enumerate(paths):
        sf.write(path, np.random.default_rng(i).uniform(-0.5, 0.5, 40_000), RATE)
    with zipfile.ZipFile(folder / "NPARK_16k.zip", "w") as archive:
        archive.write(paths[0], "NPARK/ch01.wav")
    return paths


STAGES: dict[str, Callable[[Path], Any]] = {
    "stand-ins": lambda _: generate(cache_dir() / "stand-ins", utterances_per_class=1),
    "packed audio": lambda folder: pack(sorted(folder.glob("*.wav")), RATE),
    "frames": lambda folder: build_bank(pack(sorted(folder.glob("*.wav")), RATE), PAPER.spectrogram, RATE),
    "unpacked noise": lambda folder: read_noise("demand", folder),
}
"""Everything that the data side writes."""


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("stage", "number"), [*((stage, errno.ENOSPC) for stage in STAGES), ("packed audio", errno.EDQUOT)]
)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, stage: str, number: int
) -> None:
    monkeypatch.setattr(layouts, "NOISE_SECONDS", 2)
    write_recordings(tmp_path / "audio")
    if stage == "frames":
        STAGES["packed audio"](tmp_path / "audio")
    before = files_below(cache)
    opened = Path.open

    class FullFile:
        """A file that takes 1000 bytes."""

        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def __getattr__(self, name: str) -> Any:
            return getattr(self.stream, name)

        def __enter__(self) -> "FullFile":
            return self

        def __exit__(self, *_: object) -> None:
            self.stream.close()

        def write(self, content: Any) -> int:
            if self.stream.tell() + len(content) > 1_000:
                self.stream.write(bytes(content)[:100])
                raise OSError(number, os.strerror(number))
            return int(self.stream.write(content))

    def open_full(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        stream = opened(self, mode, *arguments, **options)
        return FullFile(stream) if mode == "wb" else stream

    with monkeypatch.context() as full:
        full.setattr(Path, "open", open_full)
        with pytest.raises(DiskFullError, match=SENTENCE) as caught:
            STAGES[stage](tmp_path / "audio")
    assert str(caught.value.filename).startswith(str(cache))
    assert caught.value.strerror.endswith("; free some space and start again")
    assert "\n" not in str(caught.value)
    assert files_below(cache) == before
    STAGES[stage](tmp_path / "audio")
    assert len(files_below(cache)) > len(before)


@contextmanager
def limited_files() -> Iterator[None]:
    """Let the system refuse files of more than 20 kB, with an error instead of a signal."""
    handler, (soft, hard) = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("stage", STAGES)
def test_a_limit_of_the_system_is_one_sentence_and_leaves_nothing(tmp_path: Path, cache: Path, stage: str) -> None:
    """The system itself refuses the write, whatever library makes it."""
    write_recordings(tmp_path / "audio")
    if stage == "frames":
        STAGES["packed audio"](tmp_path / "audio")
    with limited_files(), pytest.raises(DiskFullError) as caught:
        STAGES[stage](tmp_path / "audio")
    assert str(caught.value.filename).startswith(str(cache))
    assert SENTENCE.match(caught.value.strerror)
    kept = [path for path in files_below(cache) if "waveforms-" not in path.name]
    assert kept == []


def test_a_segment_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_recordings(tmp_path / "audio")
    (tmp_path / "list.csv").write_text("file,start,end,speaker,emotion\naudio/0.wav,0,2,ann,sad\n")
    listed, out = read_segments(str(tmp_path / "list.csv")), tmp_path / "out"
    with limited_files(), pytest.raises(DiskFullError, match=SENTENCE) as caught:
        cut(listed, out, lambda _: lambda _: None)
    assert caught.value.filename == str(out / "audio" / "audio" / "0_0.000-2.000.wav")
    assert [path.name for path in files_below(out)] == ["cut.json"]


@pytest.mark.parametrize(
    "error", [RuntimeError("PytorchStreamWriter failed writing file"), OSError("460608 requested")]
)
def test_a_library_that_hides_the_reason_is_believed_only_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> None:
        with atomic_write(tmp_path / "a"):
            raise error

    with pytest.raises(type(error), match=str(error)) as caught:
        fail()
    assert not isinstance(caught.value, DiskFullError)
    usage = type("Usage", (), {"free": 2_000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(DiskFullError, match=r"0.0 MB are free") as full:
        fail()
    assert full.value.filename == str(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_a_write_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), naming_full_disk(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "Permission denied", "a")
    with pytest.raises(ZeroDivisionError), naming_full_disk(tmp_path / "a"):
        raise ZeroDivisionError


def test_the_command_ends_with_one_sentence_and_status_2(command: Command, tmp_path: Path, cache: Path) -> None:
    rows = ["path,speaker,emotion"]
    for number in range(24):
        name = f"{number}.wav"
        sf.write(tmp_path / name, np.random.default_rng(number).uniform(-0.5, 0.5, RATE), RATE)
        rows.append(f"{name},{'abcdef'[number // 4]},{('angry', 'happy', 'neutral', 'sad')[number % 4]}")
    (tmp_path / "my.csv").write_text("\n".join(rows))
    arguments = ["--table", "1", "--source", f"manifest={tmp_path}/my.csv", "--out", str(tmp_path / "out"), "--dry-run"]
    with limited_files():
        status, _, err = command(*arguments)
    assert status == 2
    assert re.fullmatch(r"error: .*/cache/.*: File too large \(.* MB are free\); raise the limit .*start again\n", err)
    assert files_below(cache) == []
