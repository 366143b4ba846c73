"""The command `python -m fastser.train` in the test's own process."""

from pathlib import Path
from typing import Any

import pytest
from commands import ONE_RUN, TINY, network_runs, run_command, write_manifest
from small_runs import SMALL, stand_in_experiment

import fastser
from fastser.cli.train_options import TrainOptions
from fastser.evaluation.metrics import uar_of
from fastser.experiment.final_model import train_final
from fastser.recognition.model_file import read_model_file
from fastser.runtime.files import cache_at
from fastser.train import train

GRID = {**ONE_RUN, "folds": 2, "set": ("training.max_epochs=2",)}


@pytest.fixture(scope="module")
def corpus(stand_ins: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A manifest of three speakers as `--source` takes it, and a results folder with its runs of a CNN."""
    folder = tmp_path_factory.mktemp("corpus")
    source = f"manifest={write_manifest(folder / 'corpus.csv', ('angry', 'sad'), speakers=3)}"
    options = {**GRID, "source": source, "out": folder / "results", "classes": "angry,sad"}
    with cache_at(stand_ins / "cache"):
        assert run_command(**options).status == 0
    return source, folder / "results"


def run(source: str | None, out: Path, *assignments: str, **options: Any) -> int:
    assignments = (*TINY, "training.max_epochs=2", *assignments)
    usual = {"model": "cnn", "scale": "quick", "classes": "angry,sad", "kernels": "fused", "set": assignments}
    return train(TrainOptions(source=source, out=out, **usual | options))


def test_epochs_and_scores_come_from_the_finished_runs(
    corpus: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, results = corpus
    assert run(source, tmp_path, results=results) == 0
    assert "2 finished runs of this corpus in" in capsys.readouterr().out
    description, _ = read_model_file(tmp_path / "manifest-cnn-none.safetensors")
    runs = network_runs(results)
    epochs = [run.metadata["kept_epoch"] for run in runs]
    assert description.training["epochs"] == max(1, round(sum(epochs) / 2))
    scores = {score["condition"]: score for score in description.scores}
    assert scores.keys() == runs[0].confusions.keys()
    uar = sum(uar_of(run.confusions["clean"]) for run in runs) / 2
    assert scores["clean"]["uar"] == pytest.approx(uar)
    assert 0 <= scores["clean"]["low"] <= uar <= scores["clean"]["high"] <= 1
    (data,) = description.training["corpora"]
    assert (data["utterances"], data["speakers"]) == (12, ["s0", "s1", "s2"])
    card = (tmp_path / "manifest-cnn-none.md").read_text("utf-8")
    for part in ("without the speaker that tested it: 2 of 3 speakers", "median of the kept epochs of 2 runs"):
        assert part in card
    audio = Path(source.partition("=")[2]).parent / "wav" / "0-sad-0.wav"
    recogniser = fastser.load_model(tmp_path / "manifest-cnn-none.safetensors")
    assert recogniser.predict(audio)[0]["label"] in ("angry", "sad")


def test_a_yardstick_has_no_epochs(corpus: tuple[str, Path], tmp_path: Path) -> None:
    source, results = corpus
    assert run(source, tmp_path, model="linear", results=results, name="small") == 0
    description, weights = read_model_file(tmp_path / "small.safetensors")
    assert "epochs" not in description.training
    assert description.scores
    assert run(source, tmp_path / "again", "training.batch_size=3", model="linear") == 0
    again, same = read_model_file(tmp_path / "again" / "manifest-linear-none.safetensors")
    assert not again.scores
    assert all((weights[name] == same[name]).all() for name in weights)


def test_the_learning_rate_is_constant_and_the_last_epoch_counts(stand_ins: Path) -> None:
    settings = SMALL.override(["training.halve_after=1", "training.stop_after=1", "training.max_epochs=1"])
    experiment = stand_in_experiment(stand_ins, settings)
    final = train_final(experiment, "cnn", "none", 3)
    assert [epoch.learning_rate for epoch in final.history.epochs] == [settings.training.learning_rate] * 3
    assert final.history.kept_epoch == 3
    again, other = (train_final(experiment, "cnn", "none", epochs) for epochs in (3, 2))
    for name, weight in final.weights.items():
        assert weight.equal(again.weights[name])
    assert any(not weight.equal(other.weights[name]) for name, weight in final.weights.items())


def test_unusable_arguments_are_one_sentence(
    corpus: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, results = corpus
    (tmp_path / "empty" / "runs").mkdir(parents=True)
    header, first, *others = (results.parent / "corpus.csv").read_text("utf-8").splitlines()
    rows = [f"{results.parent}/{row}" for row in others]
    (shorter := tmp_path / "empty" / "corpus.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    assert ",s0," in first
    for given, assignments, options, message in (
        (None, (), {"epochs": 1}, "give --source NAME=PATH"),
        ("emodb=/nowhere", (), {}, "/nowhere: does not exist (given as emodb)"),
        (source, (), {}, "or --epochs N, or --scale open, which has a fixed number of epochs"),
        (source, (), {"results": tmp_path}, "is no results folder of fastser.reproduce"),
        (source, (), {"results": tmp_path / "empty"}, "no finished leave-one-speaker-out run; make these runs first"),
        (
            source,
            ("training.batch_size=3", "spectrogram.hop_length=80"),
            {"results": results},
            "give the settings of its runs: spectrogram.hop_length=160, training.batch_size=16",
        ),
        (source, (), {"results": results, "seed": 5}, "give the settings of its runs: seed=0"),
        (source, (), {"results": results, "classes": "sad,angry"}, "runs: classes=angry,sad"),
        (f"manifest={shorter}", (), {"results": results}, "runs with other utterances of s0; give the same corpus"),
        (
            source,
            ("training.class_weights=balanced",),
            {"results": results, "model": "linear"},
            "give the settings of its runs: training.class_weights=none",
        ),
        (source, (), {"model": "linear", "epochs": 3}, "--epochs 3: linear is fitted without epochs; leave it out"),
        (
            source,
            ("training.schedule=cosine",),
            {"results": results, "epochs": 3},
            "--epochs 3: the runs in --from have 2 epochs",
        ),
        (source, (), {"model": "linear", "augmentation": "mixup"}, "yardsticks are fitted without augmentation"),
        (source, (), {"model": "rnn", "epochs": 1}, "--model: there is no"),
        (source, (), {"model": "cnn,linear", "epochs": 1}, "--model cnn,linear: one model is trained"),
        (source, (), {"epochs": 1, "scale": "huge"}, "--scale huge: expected"),
        (source, (), {"epochs": 1, "kernels": "none"}, "--kernels none: expected"),
        (source, (), {"epochs": 1, "name": "a/b"}, "--name a/b: expected a name without folder"),
    ):
        assert run(given, tmp_path / "out", *assignments, **options) == 2
        assert message in (error := capsys.readouterr().err)
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_with_the_schedule_cosine_the_settings_give_the_epochs(corpus: tuple[str, Path], tmp_path: Path) -> None:
    source, _ = corpus
    assert run(source, tmp_path, "training.schedule=cosine") == 0
    description, _ = read_model_file(tmp_path / "manifest-cnn-none.safetensors")
    assert description.training["epochs"] == 2
    assert description.training["epochs_from"] == "that of the settings"
    assert description.training["learning_rate"] == "0.001, falling along half a cosine"
