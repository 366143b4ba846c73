"""UAR by number of training speakers, on stand-ins."""

import csv
from itertools import pairwise
from pathlib import Path

import pytest
from small_runs import stand_in_experiment

from benchmarks import training_speakers
from benchmarks.speaker_record import SpeakersRun, narrowed, score, speakers_of
from fastser.data.corpora.synthetic import generate
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.settings import QUICK

SMALLEST = ["protocol.min_validation_utterances=1", "training.max_epochs=2", "training.precision=float32"]
SMALLEST += ["spectrogram.num_bins=32", "spectrogram.segment_frames=64", "spectrogram.segment_hop=64"]


@pytest.fixture(scope="module")
def experiment(stand_ins: Path) -> Experiment:
    return stand_in_experiment(stand_ins, QUICK.override(SMALLEST))


def test_a_larger_set_of_speakers_contains_the_smaller_ones(experiment: Experiment) -> None:
    training, _, test = experiment.subsets(GridPoint("source", "cnn", "none", "Ses01F", 1))
    sets = [{*speakers_of(narrowed(training, number, seed=3))} for number in range(1, 9)]
    assert [len(speakers) for speakers in sets] == list(range(1, 9))
    assert all(small < large for small, large in pairwise(sets))
    assert sets[-1] == {*speakers_of(training)}
    assert not sets[-1] & {*speakers_of(test)}
    assert any({*speakers_of(narrowed(training, 1, seed))} != sets[0] for seed in range(8))


def test_all_speakers_give_the_model_of_the_grid(experiment: Experiment) -> None:
    point = GridPoint("source", "cnn", "none", "Ses01F", 1)
    grid, ours = experiment.run(point), score(experiment, SpeakersRun(point, 8))
    assert (ours.uar, ours.epochs) == (100 * grid.results["clean"].uar, 2)
    assert score(experiment, SpeakersRun(point, 2)).epochs == 8, (
        "four times as many epochs with a quarter of the segments"
    )


def test_a_second_call_gives_the_same_page(
    stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FASTSER_CACHE", str(stand_ins / "cache"))
    corpus = f"iemocap={generate(stand_ins, utterances_per_class=1).iemocap}"
    out = tmp_path / "out"
    given = ["--corpus", corpus, f"--out={out}", "--scale=quick", "--models=cnn", "--device=cpu", "--speakers=1,8"]
    given += [f"--set={assignment}" for assignment in SMALLEST]
    training_speakers.main(given)
    assert capfd.readouterr().out.startswith("0 of 8 runs are recorded already\n")
    page = (out / "training_speakers.md").read_text()
    assert "8 of 8 runs" in page
    assert "differ from the scale: spectrogram.num_bins=32, spectrogram.segment_frames=64, " in page
    assert [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")][2:] == ["1", "8"]
    with (out / "training_speakers.csv").open(newline="") as stream:
        assert "\r" not in stream.read()
        stream.seek(0)
        rows = list(csv.DictReader(stream))
    assert {(row["model"], row["training_speakers"]) for row in rows} == {
        (model, number) for model in ("cnn", "linear") for number in ("1", "8")
    }
    assert (out / "training_speakers.png").read_bytes().startswith(b"\x89PNG")
    training_speakers.main(given)
    assert capfd.readouterr().out.startswith("8 of 8 runs are recorded already\n")
    assert (out / "training_speakers.md").read_text() == page


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ("4,many", "'4,many': expected positive numbers, such as 4,8,16"),
        ("0", "'0': expected positive numbers"),
        ("9", "--speakers 9: no fold has so many training speakers"),
    ],
)
def test_bad_numbers_get_one_sentence(
    numbers: str, message: str, stand_ins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = f"iemocap={generate(stand_ins, utterances_per_class=1).iemocap}"
    arguments = ["--corpus", corpus, f"--out={tmp_path}", "--scale=quick", "--device=cpu", f"--speakers={numbers}"]
    with pytest.raises(SystemExit) as exit_:
        training_speakers.main([*arguments, *(f"--set={assignment}" for assignment in SMALLEST)])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
