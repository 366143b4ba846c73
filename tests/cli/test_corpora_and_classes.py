"""Corpora and classes on the command line: unusable files, equal titles, any set of emotions."""

import re
from pathlib import Path

import numpy as np
import pytest
from commands import (
    ONE_RUN,
    network_runs,
    read_csv,
    read_runs,
    run_command,
    write_emodb,
    write_manifest,
    write_noise,
)

from fastser.data.corpora.synthetic import StandIns, generate
from fastser.experiment.store import ResultStore

EMODB = {"W": "angry", "L": "bored", "E": "disgust", "A": "fearful", "F": "happy", "N": "neutral", "T": "sad"}
"""Emotions by the letter in EMO-DB's file names."""


def test_without_corpora_stand_ins_are_made_in_the_cache_and_used(
    stand_ins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def few(folder: Path) -> StandIns:
        asked.append(folder)
        return generate(stand_ins, utterances_per_class=1)

    monkeypatch.setattr("fastser.experiment.roles.generate", few)
    ended = run_command(everything=True, models="cnn", augmentations="none", dry_run=True)
    assert (ended.status, ended.err) == (0, "")
    assert asked == [stand_ins / "cache" / "stand-ins"]
    assert "synthetic stand-ins" in ended.out
    for corpus in ("IEMOCAP: 40 utterances", "MSP-IMPROV: 48 utterances", "DEMAND: "):
        assert f"synthetic {corpus}" in ended.out
    assert "plan (quick scale, " in ended.out
    assert "filled" not in ended.out.partition("reused")[0]


def test_a_bad_file_is_named_skipped_and_counted(manifest: Path, tmp_path: Path) -> None:
    lfs = tmp_path / "wav" / "0-angry-0.wav"
    lfs.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    ended = run_command(**ONE_RUN, source=f"manifest={manifest}", out=tmp_path / "out")
    assert ended.status == 0
    assert re.search(r"warning: .*0-angry-0\.wav: .*git.lfs.*skipped", ended.out)
    report = (tmp_path / "out" / "report.md").read_text()
    assert "31 utterances used, 1 unusable file skipped" in report


def test_too_many_bad_files_are_an_error_unless_allowed(manifest: Path, tmp_path: Path) -> None:
    for path in sorted((tmp_path / "wav").glob("*-0.wav"))[:6]:
        path.write_bytes(b"")
    options = {**ONE_RUN, "source": f"manifest={manifest}", "out": tmp_path / "out"}
    ended = run_command(**options)
    assert ended.status == 2
    for part in ("corpus.csv: 6 of 32 files unusable", "0-angry-0.wav: ", "--allow-bad-files"):
        assert part in ended.err
    ended = run_command(**options, allow_bad_files=True)
    assert (ended.status, ended.err) == (0, "")
    assert "6 unusable files" in ended.out


def test_a_test_speaker_without_a_class_is_named(manifest: Path) -> None:
    lines = [line for line in manifest.read_text().splitlines() if not line.startswith("wav/0-sad")]
    manifest.write_text("\n".join(lines))
    ended = run_command(**ONE_RUN, source=f"manifest={manifest}", dry_run=True)
    assert (ended.status, ended.err) == (0, "")
    assert "warning: corpus.csv: 1 of 1 test speaker lacks a class: s0 (sad); the UAR of its fold is" in ended.out


def test_one_corpus_cannot_be_both_source_and_target(manifest: Path) -> None:
    roles = dict.fromkeys(("source", "target"), f"manifest={manifest}")
    ended = run_command(**ONE_RUN | roles, dry_run=True)
    assert ended.status == 2
    assert re.fullmatch(r"error: --source and --target share 32 files, .*0-angry-0\.wav\n", ended.err)


def test_noise_shorter_than_an_utterance_is_refused_before_anything_is_trained(manifest: Path, tmp_path: Path) -> None:
    write_noise(tmp_path / "noise" / "attic" / "short.wav", 1, seconds=0.1)
    ended = run_command(
        **ONE_RUN,
        source=f"manifest={manifest}",
        noise=f"folder={tmp_path / 'noise'}",
        set=["noise.scenes=attic"],
        out=tmp_path / "out",
    )
    assert ended.status == 2
    assert re.fullmatch(r"error: .*'attic'.*0\.50 s.*0\.10 s.*noise\.scenes\n", ended.err)
    assert read_runs(tmp_path / "out") == []


def test_two_manifests_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_manifest(tmp_path / folder / "labels.csv", ("angry", "sad"), speakers=3)
    ended = run_command(
        table=("1",),
        figure=("2",),
        scale="quick",
        models="cnn",
        augmentations="none",
        folds=1,
        classes="angry,sad",
        source=f"manifest={tmp_path / 'a' / 'labels.csv'}",
        target=f"manifest={tmp_path / 'b' / 'labels.csv'}",
        out=tmp_path / "out",
    )
    assert (ended.status, ended.err) == (0, "")
    titles = ["a/labels.csv", "b/labels.csv", "a/labels.csv -> b/labels.csv"]
    plan = re.findall(r"(?:leave-one-speaker-out on|across corpora,) (.*):$", ended.out, re.MULTILINE)
    assert plan == titles
    rows = [row for row in read_csv(tmp_path / "out" / "table1.csv") if row["uar_mean"]]
    assert [row["corpus"] for row in rows if row["model"] == "cnn"] == titles[:2]
    assert {row["corpus"] for row in read_csv(tmp_path / "out" / "figure2.csv")} == set(titles[2:])
    assert sorted(run.id.corpus for run in network_runs(tmp_path / "out")) == sorted(titles)
    report = (tmp_path / "out" / "report.md").read_text()
    assert "ours (a/labels.csv)" in report
    assert "ours (b/labels.csv)" in report
    heading = next(line for line in report.splitlines() if line.startswith("## Figure 2"))
    assert titles[2] in heading


def check_classes(out: Path, classes: tuple[str, ...], proposed: bool) -> None:
    """Check that the results and the report of one network and the yardsticks have these classes, in this order."""
    (run,) = network_runs(out)
    for tested in read_runs(out):
        assert tuple(tested.classes) == classes
        for name, result in ResultStore(out).posteriors(tested.id.key).items():
            assert tested.confusions[name].shape == (len(classes), len(classes))
            assert result.posteriors.shape == (len(result.labels), len(classes))
            np.testing.assert_allclose(result.posteriors.sum(axis=1), 1, atol=1e-5)
            for label, utterance in zip(result.labels, result.utterance_ids, strict=True):
                assert emotion_of(utterance) == classes[label]
    report = (out / "report.md").read_text()
    assert re.search(
        rf"Chance is\s+{100 / len(classes):.3g} for the {len(classes)} classes {', '.join(classes)}", report
    )
    cautions = report.partition("**What this is not**")[2].partition("**How to read")[0]
    assert ", ".join(classes) in cautions
    table = report.partition("confusions of Proposed")[2].partition("\n## ")[0]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    if proposed:
        assert lines[0] == ["truth", *classes, "recall (%)"]
        counts = [[int(cell) for cell in line[1:-1]] for line in lines[2:]]
        assert counts == run.confusions["clean"].tolist()
    else:
        assert lines == []


def emotion_of(utterance: str) -> str:
    """Return the emotion that the id of a made-up utterance names."""
    if found := re.fullmatch(r"wav/\d-(.+)-\d\.wav", utterance):
        return found[1].replace("-", " ")
    return EMODB[utterance[5]]


def test_all_seven_emotions_of_emodb(tmp_path: Path) -> None:
    folder = write_emodb(tmp_path / "EMODB", EMODB)
    options = {**ONE_RUN, "table": ("1",), "models": "proposed", "source": f"emodb={folder}", "classes": "all"}
    ended = run_command(**options, out=tmp_path / "out")
    assert (ended.status, ended.err) == (0, "")
    check_classes(tmp_path / "out", tuple(EMODB.values()), proposed=True)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [("all", ("bored", "thrilled", "very proud")), ("very proud, bored", ("very proud", "bored"))],
)
def test_a_manifest_with_labels_of_its_own(tmp_path: Path, classes: str, expected: tuple[str, ...]) -> None:
    manifest = write_manifest(tmp_path / "corpus.csv", ("thrilled", "bored", "very proud"), speakers=3)
    ended = run_command(**ONE_RUN, source=f"manifest={manifest}", classes=classes, out=tmp_path / "out")
    assert (ended.status, ended.err) == (0, "")
    check_classes(tmp_path / "out", expected, proposed=False)


def test_all_classes_of_two_corpora_are_those_in_common(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    lines: list[float] = []
    axhline = Axes.axhline
    monkeypatch.setattr(Axes, "axhline", lambda axes, y, **style: (lines.append(y), axhline(axes, y, **style))[1])
    emodb = write_emodb(tmp_path / "EMODB", EMODB)
    manifest = write_manifest(tmp_path / "corpus.csv", ("thrilled", "sad", "bored", "happy"), speakers=3)
    options = {"figure": ("2",), "scale": "quick", "models": "cnn", "augmentations": "none", "classes": "all"}
    ended = run_command(**options, source=f"emodb={emodb}", target=f"manifest={manifest}", out=tmp_path / "out")
    assert (ended.status, ended.err) == (0, "")
    check_classes(tmp_path / "out", ("bored", "happy", "sad"), proposed=False)
    *levels, _ = lines  # the last one is that of the yardstick in figure2.png
    assert levels == pytest.approx([100 / 3, 100 / 3])  # in report.html and in figure2.png


def test_corpora_with_fewer_than_two_classes_in_common_are_refused(tmp_path: Path) -> None:
    emodb = write_emodb(tmp_path / "EMODB", EMODB)
    manifest = write_manifest(tmp_path / "corpus.csv", ("thrilled", "sad"), speakers=3)
    ended = run_command(
        figure=("2",), source=f"emodb={emodb}", target=f"manifest={manifest}", classes="all", out=tmp_path / "out"
    )
    assert ended.status == 2
    for part in ("EMO-DB (angry, bored, ", "corpus.csv (sad, thrilled)", "--classes"):
        assert part in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("classes", "parts"),
    [
        ("angry,bored", ["has no utterance of bored", "angry (8), happy (8), neutral (8), sad (8)", "--classes"]),
        ("angry", ["at least two classes, got angry", "--classes"]),
        ("angry,sad,angry", ["'angry' is chosen 2 times", "--classes"]),
    ],
)
def test_classes_that_cannot_be_used_are_one_sentence(
    manifest: Path, tmp_path: Path, classes: str, parts: list[str]
) -> None:
    ended = run_command(**ONE_RUN, source=f"manifest={manifest}", classes=classes, out=tmp_path / "out")
    assert ended.status == 2
    for part in (f"error: {manifest}: ", *parts):
        assert part in ended.err
    assert ended.err.count("\n") == 1


def test_the_papers_four_emotions_are_the_default(tmp_path: Path) -> None:
    folder = write_emodb(tmp_path / "EMODB", EMODB)
    ended = run_command(**ONE_RUN, source=f"emodb={folder}", out=tmp_path / "out")
    assert (ended.status, ended.err) == (0, "")
    (run,) = network_runs(tmp_path / "out")
    assert run.classes == ["angry", "happy", "neutral", "sad"]
