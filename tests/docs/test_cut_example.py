"""The list of segments on the page about own corpora is cut with the output that the page prints."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from snippets import ROOT, arguments

from fastser.cli.cut_options import CutOptions
from fastser.cut import cut


@pytest.mark.fast
def test_the_list_of_the_page_is_cut_as_the_page_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs/own-corpus.md").read_text("utf-8")
    listed, shown = (text.split("```")[0] for text in page.split("## Segments of longer")[1].split("```\n")[1:4:2])
    monkeypatch.chdir(tmp_path)
    Path("interviews").mkdir()
    for name in ("1.wav", "2.wav"):
        sf.write(Path("interviews", name), np.random.default_rng(0).uniform(-0.1, 0.1, 20_000), 8000)
    Path("segments.csv").write_text(listed)
    command, *output = shown.splitlines()
    source, out = arguments(command.removeprefix("$ "))
    assert cut(CutOptions(source=source, out=Path(out))) == 0
    assert capsys.readouterr().out.splitlines() == output
