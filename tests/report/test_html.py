"""The page report.html: complete, self-contained, small, readable without a script."""

import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from made_up import context, of_models, with_yardsticks
from parsed_page import Page

from fastser.report import ReportContext
from fastser.report.audio import Clip, Listening
from fastser.report.claims import judge
from fastser.report.html import confusions, write_html
from fastser.report.html.charts import MOST_DOTS, dot_chart
from fastser.report.html.confusions import confusion_groups
from fastser.report.html.curves import curve_chart, curve_of
from fastser.report.html.svg import new_axes, svg_of
from fastser.report.tables import build_tables


def with_epochs(whole: ReportContext, epochs: int) -> ReportContext:
    """Return a context whose runs record epochs and times. Runs of the second fold stop two epochs earlier."""
    runs = []
    for run in whole.runs:
        number = epochs - 2 * run.id.point.fold.endswith("2")
        of_epochs = [{"loss": 2 / (n + 1) + run.id.point.repeat / 10, "score": n / epochs} for n in range(number)]
        metadata = {"epochs": of_epochs, "kept_epoch": number, "training_seconds": 60.0, "test_seconds": 30.0}
        runs.append(replace(run, metadata=metadata))
    return replace(whole, runs=runs)


def tone(seconds: float) -> bytes:
    """Return a FLAC file, which a browser can play."""
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.sin(np.arange(int(16_000 * seconds)) / 6), 16_000, format="FLAC")
    return file.getvalue()


CLIPS = Listening(
    [Clip("clean", "sad, 80 %", True, tone(0.5)), Clip("after BIM", "happy, 60 %", False, tone(0.25))],
    ["Utterance a, spoken as sad."],
    ["A note."],
)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a finished plan of all tables, with yardsticks, epochs and audio."""
    whole = replace(with_yardsticks(with_epochs(context(), 6), {"linear": 45, "majority": 25}), listening=CLIPS)
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_html(path, whole, build_tables(whole), judge(whole))
    return path.read_text("utf-8")


def test_page_is_well_formed_and_needs_nothing_else(text: str) -> None:
    page = Page(text)
    assert page.unbalanced == []
    assert not page.all("script")
    without_names = text.replace("http://www.w3.org/1999/xlink", "")
    assert not re.search(r"https?://|url\((?!#)|@import", without_names)
    ids = [str(attributes["id"]) for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [str(a.get("href") or a.get("xlink:href")) for tag, a in page.elements if tag in ("a", "use")]
    assert links
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert set(re.findall(r"url\(#(\w+)\)", text)) <= set(ids)


def test_page_is_accessible(text: str) -> None:
    page = Page(text)
    assert len(page.all("h1")) == 1
    assert page.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(len(str(svg["aria-label"])) > 30 and svg["role"] == "img" for svg in page.all("svg"))
    boxes = [attributes for attributes in page.all("div") if attributes.get("class") == "box"]
    assert len(boxes) == len(page.all("table")) + len(page.all("pre"))
    assert all(box["aria-label"] and box["tabindex"] == "0" for box in boxes)
    assert all(player["aria-label"] for player in page.all("audio"))
    assert "prefers-color-scheme: dark" in text


def test_page_begins_with_what_was_found(text: str) -> None:
    found, tables = text.index("What was found"), text.index('<section id="tables">')
    assert found < text.index("<h3>The paper's claims</h3>") < tables
    assert found < text.index("EMO-DB: Linear has a UAR of 45.0 %. ") < tables
    assert re.search(r"Claims of the paper that hold here: \d+, that do not hold: \d+, not decided: \d+\.", text)


def test_tables_show_paper_ours_and_interval(text: str) -> None:
    lines = text.partition('<section id="tables">')[2].splitlines()
    row = next(line for line in lines if line.startswith('<tr><th scope="row">Proposed</th><td>none</td>'))
    assert '<td class="number paper">64.1 ± 1.3</td>' in row
    assert re.search(r'<td class="number best">62\.5 ± 0\.6<small>\d+\.\d to \d+\.\d</small></td>', row)
    assert "4 x 2" in row
    groups, columns = lines[lines.index("<thead>") + 1 :][:2]
    assert groups.endswith('<th scope="colgroup" colspan="2">repeats x folds</th></tr>')
    assert re.findall(r'class="number">([^<]+)', columns)[-2:] == ["EMO-DB", "RAVDESS"]
    below = next(line for line in lines if line.startswith('<tr><th scope="row">CNN</th><td>none</td>'))
    assert "↓" in below


def test_every_figure_is_there(text: str) -> None:
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    assert sum(caption.endswith("UAR over SNR, with 95 % intervals.") for caption in captions) == 4
    assert sum(caption.endswith("UAR over eps of BIM, with 95 % intervals.") for caption in captions) == 4
    assert sum(caption.endswith("UAR by condition, with 95 % intervals.") for caption in captions) == 4
    assert sum("test speakers" in caption for caption in captions) == 3
    assert sum(caption.endswith("training loss") for caption in captions) == 15
    assert len(captions) == len(Page(text).all("svg"))


@pytest.fixture(scope="module")
def one_of_each(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of one network and Linear with one speaker, no interval and two epochs."""
    whole = with_epochs(with_yardsticks(context(1, 1), {"linear": 80}), 2)
    whole = of_models(whole, ["cnn", "linear"])
    whole = replace(
        whole,
        expected=[identity for identity in whole.expected if identity.point.task == "source"],
        runs=[run for run in whole.runs if run.id.point.task == "source"],
        target_title=None,
    )
    path = tmp_path_factory.mktemp("small") / "report.html"
    write_html(path, whole, build_tables(whole), judge(whole))
    return path.read_text("utf-8")


def test_captions_and_sentences_fit_one_speaker_and_one_network(one_of_each: str) -> None:
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", one_of_each)
    assert "Models without augmentation: UAR over SNR." in captions
    assert "EMO-DB: UAR of the only test speaker." in captions
    assert not any("intervals" in caption for caption in captions)
    assert "CNN, EMO-DB: validation accuracy (%)" in captions
    below = "Networks above it: 0 of 4; below: 4 of 4 (0 significantly)."
    assert f"EMO-DB: Linear has a UAR of 80.0 %. {below}" in one_of_each


def test_matrices_outside_the_tables_of_the_paper_are_one_closed_group(text: str) -> None:
    shown = text.partition('<section id="confusions">')[2].partition("</section>")[0]
    before, summary, scenes = shown.partition(
        "<details><summary>Conditions that the paper's tables lack (198)</summary>"
    )
    assert summary
    assert before.count("<details open>") == 1
    assert before.count("<details") == before.count("</details>")
    assert "cafeteria" not in before
    assert len(re.findall(r"<summary>EMO-DB, (?:(?:cafeteria|kitchen), \d+ dB|eps [\d.]+) ", scenes)) == len(
        re.findall("<summary>", scenes)
    )


@pytest.mark.fast
@pytest.mark.parametrize(("epochs", "percents"), [(1, [0]), (4, [0, 25, 50, 75])])
def test_curves_have_percent_and_whole_epochs(epochs: int, percents: list[float]) -> None:
    runs = [run for run in with_epochs(context(1), epochs).runs if run.id.point.fold == "f1"]
    curve = curve_of(runs, "score", 100)
    assert curve is not None
    assert curve.mean.tolist() == percents
    svg = curve_chart({"none": curve}, "a score", "a chart of few epochs")
    labels = svg.partition(">epoch</text>")[0]
    assert re.findall(r">\s*([\d.]+)\s*</text>", labels) == [str(epoch) for epoch in range(1, epochs + 1)]


def test_audio_is_embedded_with_the_answers(text: str) -> None:
    players = Page(text).all("audio")
    assert [str(player["src"])[:22] for player in players] == ["data:audio/flac;base64"] * 2
    assert "wrong: happy, 60 %" in text
    assert "This page contains audio of the corpus." in text


def test_a_page_of_600_runs_is_small(tmp_path: Path) -> None:
    whole = of_models(context(10, 4), ["densenet", "densenet-lstm", "proposed"])
    whole = with_epochs(whole, 100)
    assert len(whole.runs) > 600
    sounds = [Clip(f"clip {n}", "sad, 80 %", True, bytes(90_000)) for n in range(6)]
    whole = replace(whole, listening=Listening(sounds))
    write_html(tmp_path / "report.html", whole, build_tables(whole), judge(whole))
    assert (tmp_path / "report.html").stat().st_size < 3_000_000


def test_names_are_escaped(tmp_path: Path) -> None:
    whole = of_models(context(1, source_title="<b>A&B</b>$x$"), ["cnn"])
    failed = whole.expected[0]
    whole = replace(whole, failures=[(failed, "<script>alert(1)</script>")], runs=whole.runs[1:])
    write_html(tmp_path / "report.html", whole, build_tables(whole), judge(whole))
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert page.unbalanced == []
    assert not page.all("b")
    assert not page.all("script")
    assert "<script>alert(1)</script>" in "".join(page.words)


def test_nothing_finished_yet(tmp_path: Path) -> None:
    whole = context(runs=[])
    write_html(tmp_path / "report.html", whole, build_tables(whole), judge(whole))
    text = (tmp_path / "report.html").read_text("utf-8")
    assert Page(text).unbalanced == []
    assert text.count("None of its runs is finished.") == 5
    assert "<svg" not in text


def test_curves_end_where_half_of_the_runs_have_stopped() -> None:
    whole = with_epochs(context(2), 6)
    runs = [run for run in whole.runs if run.id.point.task == "source" and run.id.point.model == "cnn"]
    curve = curve_of(runs, "loss")
    assert curve is not None
    assert curve.epochs.tolist() == [1, 2, 3, 4]
    assert curve.mean[0] == pytest.approx(2 + 0.15)
    assert curve.std[0] == pytest.approx(0.05)
    assert curve_of([replace(run, metadata={}) for run in runs], "loss") is None


def test_matrices_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = of_models(context(1), ["cnn"])
    tables = build_tables(whole)
    everything, none = confusion_groups(tables, whole)
    assert none == 0
    total = sum(len(group.matrices) for group in everything)
    assert everything[0].title == "EMO-DB, clean speech"
    assert everything[0].matrices[0].rows[0].cells == [(62, 31), (138, 69), (0, 0), (0, 0)]
    monkeypatch.setattr(confusions, "MOST_CELLS", 3 * 16)
    few, left_out = confusion_groups(tables, whole)
    assert sum(len(group.matrices) for group in few) == 3
    assert left_out == total - 3


def test_many_speakers_are_quartiles_instead_of_dots() -> None:
    few = dot_chart({"CNN": list(np.linspace(20, 60, MOST_DOTS))}, 25, "a chart of forty speakers")
    many = dot_chart({"CNN": list(np.linspace(20, 60, 1000))}, 25, "a chart of many speakers")
    assert few.count("<use") > MOST_DOTS
    assert many.count("<use") < MOST_DOTS


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

PROBE = """<script>
let errors = 0;
addEventListener('error', () => errors++, true);
addEventListener('load', async () => {
  const players = [...document.querySelectorAll('audio')];
  await Promise.all(players.map(p => p.readyState || p.error || new Promise(done => {
    p.onloadedmetadata = p.onerror = done;
  })));
  parent.postMessage(JSON.stringify({
    errors, width: innerWidth, wide: document.documentElement.scrollWidth,
    svgs: document.querySelectorAll('svg').length, seconds: players.map(p => p.duration),
  }), '*');
});
</script></head>"""
"""A script that tells the page around it what the browser made of the report."""

FRAME = """<!DOCTYPE html><body><iframe src="report.html" style="width: {width}px; height: 900px; border: 0"></iframe>
<script>addEventListener('message', said => document.body.setAttribute('data-said', said.data));</script></body>"""
"""A page around the report, since Chromium has no window below 500 pixels."""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
@pytest.mark.parametrize("width", [400, 1200])
def test_chromium_shows_the_page_without_an_error(text: str, tmp_path: Path, width: int) -> None:
    (tmp_path / "report.html").write_text(text.replace("</head>", PROBE), "utf-8")
    (tmp_path / "frame.html").write_text(FRAME.format(width=width), "utf-8")
    arguments: list[Any] = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    arguments += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1300,900", "--virtual-time-budget=5000"]
    ended = subprocess.run(
        [CHROMIUM, *arguments, "--dump-dom", (tmp_path / "frame.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    said = json.loads(str(Page(ended.stdout).all("body")[0]["data-said"]))
    assert said["width"] == width
    assert said["wide"] <= width
    assert said["errors"] == 0
    assert said["svgs"] == len(Page(text).all("svg"))
    assert said["seconds"] == [0.5, 0.25]
    assert "CONSOLE" not in ended.stderr


@pytest.mark.fast
def test_labels_of_axes_keep_their_decimals() -> None:
    figure, axes = new_axes(2.0)
    axes.set_yticks([0.45, 0.5, 0.55])
    labels = re.findall(r">\s*(0\.\d+)\s*</text>", svg_of(figure, "three ticks"))
    assert {"0.45", "0.50", "0.55"} <= {*labels}
