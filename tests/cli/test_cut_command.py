"""The command that cuts segments of longer recordings."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from corpus_trees import write_lines

from fastser.cli.cut_options import CutOptions
from fastser.cut import cut

pytestmark = pytest.mark.fast


def test_a_list_is_cut_and_the_next_command_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sf.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 16_000), 8000)
    rows = ["a.wav,0,1,ann,angry", "a.wav,1,,bob,sad"]
    write_lines(tmp_path / "segments.csv", ["file,start,end,speaker,emotion", *rows])
    options = CutOptions(source=str(tmp_path / "segments.csv"), out=tmp_path / "my new" / "out")
    manifest = tmp_path / "my new" / "out" / "manifest.csv"
    assert cut(options) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2 segments of 1 recording, 2 speakers",
        "emotion: 2 different, angry (1), sad (1)",
        "cutting the recordings ...",
        "2 segments cut from 1 recording",
        f"manifest: {manifest}",
        f"next: python -m fastser.doctor --source 'manifest={manifest}'",
    ]
    assert cut(options) == 0
    assert "0 segments cut from 0 recordings, 2 already there" in capsys.readouterr().out.splitlines()


def test_a_warning_about_audio_that_speakers_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sf.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 16_000), 8000)
    rows = ["a.wav,0,1,ann,angry", "a.wav,0.5,,bob,sad"]
    write_lines(tmp_path / "segments.csv", ["file,start,end,speaker,emotion", *rows])
    assert cut(CutOptions(source=str(tmp_path / "segments.csv"), out=tmp_path / "out")) == 0
    assert capsys.readouterr().out.splitlines()[2] == (
        "warning: 1 segment begins before one of another speaker ends, such as that of a.wav at 0.5 s; folds by speaker"
        " have the shared audio on both sides"
    )


@pytest.mark.parametrize(
    ("source", "out", "said"),
    [
        (None, "out", "give a list of segments and a folder: python -m fastser.cut SOURCE OUT"),
        ("segments.csv", None, "give a list of segments and a folder"),
        ("segments.csv", "file", "OUT file cannot be written: Not a directory"),
        ("lost.csv", "out", "lost.csv: is not a file; give a CSV file with the columns file, start, end, speaker, emo"),
        ("audformat=lost", "out", "lost: does not exist (given as audformat)"),
        ("audformat=.", "out", ".: is not an audformat database; give the folder that holds db.yaml"),
        ("segments.csv", "out", "segments.csv, line 2: there is no file a.wav"),
    ],
)
def test_arguments_that_cannot_be_used(
    source: str | None,
    out: str | None,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    write_lines(Path("segments.csv"), ["file,start,end,speaker,emotion", "a.wav,0,1,ann,angry"])
    assert cut(CutOptions(source=source, out=out and Path(out))) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1
    assert not Path("out").exists()
