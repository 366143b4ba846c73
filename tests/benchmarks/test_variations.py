"""`python -m benchmarks.variations`, on stand-ins."""

import csv
from argparse import Namespace
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import recall_score
from small_runs import SMALL, stand_in_experiment

from benchmarks import variations
from benchmarks.clean_run import Sets, train_and_test
from benchmarks.variation_page import VariationRun
from benchmarks.variation_sets import VARIATIONS, halves, shuffled, with_known_speaker, with_shuffled_frames
from benchmarks.variations import VariationStudy, score
from fastser.data import read_corpus
from fastser.data.corpora.synthetic import generate
from fastser.data.utterance_frames import utterance_frames
from fastser.evaluation.metrics import ConditionResult
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.training.state import TrainingError

SMALLEST = ["protocol.min_validation_utterances=1", "training.max_epochs=1", "training.precision=float32"]
SMALLEST += ["spectrogram.num_bins=32", "spectrogram.segment_frames=64", "spectrogram.segment_hop=64"]
POINT = GridPoint("source", "cnn", "none", "Ses01F", 1)
LINEAR = GridPoint("source", "linear", "none", "Ses01F", 1)


@pytest.fixture(scope="module")
def experiment(stand_ins: Path) -> Experiment:
    return replace(stand_in_experiment(stand_ins, SMALL, speeds=(0.9,)), noise=None)


def test_halves_are_disjoint_stratified_and_whole(experiment: Experiment) -> None:
    test = experiment.dataset("source").subset(range(37))
    first, second = halves(test, seed=3)
    assert sorted(first.utterances + second.utterances) == list(range(37))
    assert abs(len(first.utterances) - len(second.utterances)) == 1
    utterances = test.dataset.corpus.utterances
    counts = [Counter(utterances[i].emotion for i in half.utterances) for half in (first, second)]
    assert all(abs(counts[0][emotion] - counts[1][emotion]) <= 1 for emotion in test.dataset.corpus.classes)
    assert halves(test, seed=3)[0].utterances == first.utterances != halves(test, seed=4)[0].utterances


def test_a_single_utterance_has_no_halves(experiment: Experiment) -> None:
    with pytest.raises(TrainingError, match="has 1 utterance, which cannot be divided into halves"):
        halves(experiment.dataset("source").subset([5]), seed=3)


def test_no_model_is_tested_on_an_utterance_that_it_trained_on(experiment: Experiment) -> None:
    training, validation, test = experiment.subsets(POINT)
    trainings = with_known_speaker(experiment, POINT)
    assert sorted(i for sets in trainings for i in sets.test.utterances) == list(test.utterances)
    for sets in trainings:
        assert not {*sets.training.utterances} & {*sets.test.utterances, *validation.utterances}
        assert {*sets.training.utterances} == {*training.utterances, *test.utterances} - {*sets.test.utterances}
        assert sets.validation.utterances == validation.utterances


def test_the_uar_with_a_known_speaker_is_that_of_both_halves_together(experiment: Experiment) -> None:
    trainings = with_known_speaker(experiment, LINEAR)
    results = [train_and_test(experiment, LINEAR, sets, experiment.settings)[0] for sets in trainings]
    truth = np.concatenate([result.labels for result in results])
    predicted = np.concatenate([result.posteriors.argmax(axis=1) for result in results])
    scored = score(experiment, VARIATIONS["known-speaker"], VariationRun(LINEAR, varied=True))
    assert scored.uar == pytest.approx(100 * recall_score(truth, predicted, average="macro"))
    assert scored.utterances == 34, "32 utterances of other speakers, and two of four of the test speaker"


def test_shuffling_permutes_the_frames_of_each_recording(experiment: Experiment) -> None:
    dataset = experiment.dataset("source")
    ours = shuffled(dataset, seed=3)
    ends = np.cumsum(dataset.bank.sums[:, 0].numpy() / dataset.bank.frames.shape[1]).astype(int)
    assert len(ends) == 2 * dataset.bank.num_utterances, "both speeds"
    pairs = [np.split(bank.frames.numpy(), ends[:-1]) for bank in (dataset.bank, ours.bank)]
    for kept, permuted in zip(*pairs, strict=True):
        assert not np.array_equal(kept, permuted)
        assert sorted(map(bytes, kept)) == sorted(map(bytes, permuted))
    other = shuffled(dataset, seed=4)
    assert len({dataset.key, ours.key, other.key}) == 3
    assert not ours.bank.frames.equal(other.bank.frames)


def test_linear_does_not_depend_on_the_order_of_frames(experiment: Experiment) -> None:
    ordinary = Sets(*experiment.subsets(LINEAR))
    (varied,) = with_shuffled_frames(experiment, LINEAR)
    normalisation = ordinary.training.normalisation()
    assert varied.training.normalisation() == normalisation
    for ours, theirs in zip(varied, ordinary, strict=True):
        assert ours.utterances == theirs.utterances
        frames = [next(utterance_frames(s.dataset.bank, s.utterances, normalisation)) for s in (ours, theirs)]
        assert not frames[0].equal(frames[1]), "each set is shuffled"
    results = [train_and_test(experiment, LINEAR, sets, experiment.settings)[0] for sets in (ordinary, varied)]
    np.testing.assert_allclose(results[1].posteriors, results[0].posteriors, rtol=0, atol=1e-4)


@pytest.mark.parametrize("point", [POINT, LINEAR], ids=["cnn", "linear"])
def test_ordinary_runs_are_those_of_the_grid(
    point: GridPoint, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = []

    def train_and_keep(*given: Any) -> tuple[ConditionResult, int]:
        tested.append(train_and_test(*given))
        return tested[-1]

    monkeypatch.setattr(variations, "train_and_test", train_and_keep)
    scored = score(experiment, VARIATIONS["known-speaker"], VariationRun(point, varied=False))
    grid = experiment.run(point)
    np.testing.assert_array_equal(tested[0][0].posteriors, grid.results["clean"].posteriors)
    assert (scored.uar, scored.epochs) == (100 * grid.results["clean"].uar, len(grid.metadata["epochs"]))


def test_a_second_call_gives_the_same_page(
    stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FASTSER_CACHE", str(stand_ins / "cache"))
    corpus = f"iemocap={generate(stand_ins, utterances_per_class=1).iemocap}"
    given = ["--corpus", corpus, f"--out={tmp_path}", "--scale=quick", "--models=cnn", "--device=cpu"]
    given += [f"--set={assignment}" for assignment in SMALLEST]
    variations.main([*given, "--variation=known-speaker"])
    assert capfd.readouterr().out.startswith("0 of 8 runs are recorded already\n")
    page = (tmp_path / "known-speaker.md").read_text()
    assert "8 of 8 runs" in page
    assert "32 (unknown speaker), 34 (known speaker)" in page
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    assert [row[0] for row in table[2:]] == ["CNN", "Linear"]
    assert [bool(cell) for cell in table[3]] == [True, True, False, True, False, True, False], "no minus Linear"
    with (tmp_path / "known-speaker.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert Counter((row["model"], row["case"]) for row in rows) == {
        (model, case): 2 for model in ("cnn", "linear") for case in ("unknown speaker", "known speaker")
    }
    variations.main([*given, "--variation=known-speaker"])
    assert capfd.readouterr().out.startswith("8 of 8 runs are recorded already\n")
    assert (tmp_path / "known-speaker.md").read_text() == page


def test_variations_share_ordinary_runs_only(stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTSER_CACHE", str(stand_ins / "cache"))
    corpus = f"iemocap={generate(stand_ins, utterances_per_class=1).iemocap}"
    options = Namespace(
        corpus=corpus, out=tmp_path, scale="quick", folds=1, repeats=1, set=SMALLEST, models="cnn", device="cpu"
    )
    known, other = (VariationStudy(Namespace(variation=name, **vars(options))) for name in VARIATIONS)
    for run, path in known.paths.items():
        assert (path == other.paths[run]) is not run.varied
    assert len({*known.paths.values(), *other.paths.values()}) == 6


def test_bad_input_gets_one_sentence(stand_ins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speech = read_corpus("iemocap", generate(stand_ins, utterances_per_class=1).iemocap)
    parts = dict(zip(speech.speakers, ["train", "validation", *["test"] * 8], strict=True))
    rows = [f"{u.path},{u.speaker},{u.emotion},{parts[u.speaker]}" for u in speech.utterances]
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("\n".join(["path,speaker,emotion,split", *rows]) + "\n")
    given = ["--corpus", f"manifest={manifest}", f"--out={tmp_path}", "--scale=quick", "--device=cpu"]
    given += [f"--set={assignment}" for assignment in SMALLEST]
    for variation, message in (
        ("louder", "invalid choice: 'louder'"),
        ("known-speaker", "has a split of its own; give a corpus whose speakers can be left out one by one"),
    ):
        with pytest.raises(SystemExit) as exit_:
            variations.main([*given, f"--variation={variation}"])
        assert exit_.value.code == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
