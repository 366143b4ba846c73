"""Standard output that fails costs output only."""

import io
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from fastser.cli.console import say
from fastser.cli.output import Output


def stream_to(path: str, encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.FileIO(path, "w"), encoding=encoding)


@pytest.mark.fast
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_output_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(stream_to("/dev/full"))
    for _ in range(3):
        assert output.write("text\n") == 5
        output.flush()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "No space left on device" in said


@pytest.mark.fast
def test_a_closed_pipe_ends_the_output_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    stream = io.TextIOWrapper(io.FileIO(write, "w"))
    output = Output(stream)
    output.write("text\n")
    output.flush()
    output.write("more\n")
    stream.close()  # flushes what is buffered, which must not fail either
    assert "Broken pipe" in capsys.readouterr().err


@pytest.mark.fast
def test_characters_that_the_encoding_lacks_are_escaped(tmp_path: Path) -> None:
    stream = stream_to(str(tmp_path / "out.txt"), "ascii")
    Output(stream).write("José \udce9 \u2713\n")
    stream.close()
    assert (tmp_path / "out.txt").read_bytes() == rb"Jos\xe9 \udce9 \u2713" + b"\n"


@pytest.mark.fast
def test_lines_are_printed_as_they_are() -> None:
    screen = io.StringIO()
    say(Console(file=screen, force_terminal=True, width=80), "[red]a.wav :car: 1", "b")
    assert screen.getvalue() == "[red]a.wav :car: 1\nb\n"


@pytest.mark.fast
def test_a_working_stream_gets_everything(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(sys.stdout)
    output.write("text")
    output.flush()
    assert capsys.readouterr() == ("text", "")
    assert output.isatty() is False
