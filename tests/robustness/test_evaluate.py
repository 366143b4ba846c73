"""`fastser.evaluate`: other people's models, their classes and outputs, files, continuation, comparison."""

import csv
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import CLASSES, Corpora, SpectrogramNet, WaveformNet, loudness, make_spectrogram_net
from small_runs import SMALL, SilentListener, stand_in_experiment
from torch import Tensor, nn

import fastser
from fastser.data.corpora import CorpusError
from fastser.evaluation.model_error import ModelError
from fastser.experiment.executors.runner import Runner
from fastser.experiment.grid import GridPoint
from fastser.experiment.store import ResultStore

PAPER_CONDITIONS = ["clean", "noise-0db", "fgsm", "bim"]
QUIET: dict[str, Any] = {"settings": SMALL, "progress": False}
BY_UTTERANCE = SMALL.override(["spectrogram.normalisation=utterance"])


def evaluate(model: Any, corpora: Corpora, **arguments: Any) -> Any:
    """Test a model with the small settings."""
    return fastser.evaluate(model, corpora.speech, **QUIET | arguments)


def test_numbers_are_those_of_the_grid(corpora: Corpora, stand_ins: Path, tmp_path: Path) -> None:
    experiment, store = stand_in_experiment(stand_ins, SMALL), ResultStore(tmp_path)
    point = GridPoint("source", "cnn", "none", "Ses01F", 1)
    outcome = Runner(experiment, store, keep_models=True).run(point, SilentListener())
    assert outcome is not None
    key = outcome.run_id.key
    seed = store.load(key).metadata["seeds"]["noise"]
    result = evaluate(store.weights(key), corpora, noise=corpora.noise, speakers=["Ses01F"], seed=seed)
    assert list(result.results) == PAPER_CONDITIONS
    for name, expected in store.posteriors(key).items():
        if name in result.results:
            np.testing.assert_array_equal(result.results[name].posteriors, expected.posteriors)
            assert result.results[name].utterance_ids == expected.utterance_ids
    with pytest.raises(
        CorpusError, match=r"trained or validated with 9 speakers of this test .* \(--speakers Ses01F\)"
    ):
        evaluate(store.weights(key), corpora)


def test_a_model_of_waveforms_gives_the_same_in_batches_and_one_by_one(corpora: Corpora) -> None:
    torch.manual_seed(0)
    model = WaveformNet()
    arguments = {"inputs": "waveform", "classes": CLASSES, "noise": corpora.noise}
    batches = evaluate(model, corpora, batch_size=5, **arguments)
    single = evaluate(model, corpora, padding="one by one", **arguments)
    assert list(batches.results) == PAPER_CONDITIONS
    for name in ("clean", "noise-0db"):
        np.testing.assert_allclose(
            batches.results[name].posteriors, single.results[name].posteriors, atol=1e-5, err_msg=name
        )
    clean, attacked = (batches.results[name].posteriors for name in ("clean", "bim"))
    labels = batches.results["clean"].labels
    rows = np.arange(len(labels))
    assert (attacked[rows, labels] <= clean[rows, labels] + 1e-6).all()
    assert (attacked[rows, labels] < clean[rows, labels]).mean() > 0.9


def test_a_callable_on_arrays_gets_single_waveforms_and_no_attack(corpora: Corpora) -> None:
    lengths = []

    def model(waveform: np.ndarray) -> np.ndarray:
        lengths.append(waveform.shape)
        return loudness(waveform)

    result = evaluate(model, corpora, inputs="waveform", classes=CLASSES)
    assert list(result.results) == ["clean"]
    assert len(lengths) == result.num_utterances
    assert all(len(shape) == 1 for shape in lengths)
    assert any("fgsm, bim: not tested, a callable on arrays has no gradient" in note for note in result.notes)
    np.testing.assert_allclose(result.results["clean"].posteriors.sum(1), 1, atol=1e-5)


def test_a_scikit_learn_pipeline_behind_a_callable(corpora: Corpora) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    generator = np.random.default_rng(0)
    fitted = linear_model.LogisticRegression().fit(generator.normal(size=(40, 32)), np.arange(40) % 4)
    seen = []

    def model(segments: np.ndarray) -> np.ndarray:
        seen.append(fitted.predict_proba(segments.mean(1)))
        return seen[-1]

    result = evaluate(model, corpora, classes=CLASSES)
    assert list(result.results) == ["clean"]
    by_segment = np.concatenate(seen)
    first = result.results["clean"].posteriors[0]
    assert min(np.abs(by_segment[:count].mean(0) - first).max() for count in range(1, 9)) < 1e-5


@pytest.mark.parametrize(
    "convert",
    [
        lambda logits: logits,
        lambda logits: (logits, None),
        lambda logits: type("Output", (), {"logits": logits})(),
        lambda logits: logits.softmax(1),
    ],
    ids=["logits", "tuple", "object", "probabilities"],
)
def test_every_kind_of_output_gives_the_same_posteriors(corpora: Corpora, convert: Callable[[Tensor], Any]) -> None:
    class Converted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = make_spectrogram_net()

        def forward(self, segments: Tensor) -> Any:
            return convert(self.inner(segments))

    plain = evaluate(make_spectrogram_net(), corpora, classes=CLASSES, conditions=["clean"])
    converted = evaluate(Converted(), corpora, classes=CLASSES, conditions=["clean"])
    np.testing.assert_allclose(converted.results["clean"].posteriors, plain.results["clean"].posteriors, atol=1e-6)


def test_classes_are_found_by_name_in_any_order(corpora: Corpora) -> None:
    class Reordered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = make_spectrogram_net()

        def forward(self, segments: Tensor) -> Tensor:
            logits = self.inner(segments)
            return torch.cat([logits[:, [3, 0, 2]], logits.amax(1, keepdim=True) + 9, logits[:, [1]]], dim=1)

    plain = evaluate(make_spectrogram_net(), corpora, classes=CLASSES, conditions=["clean"])
    other = evaluate(Reordered(), corpora, classes=["sad", "angry", "neutral", "calm", "happy"], conditions=["clean"])
    columns = [other.classes.index(name) for name in plain.classes]
    np.testing.assert_allclose(
        other.results["clean"].posteriors[:, columns], plain.results["clean"].posteriors, atol=1e-6
    )
    assert any("outputs left out" in note and "calm" in note for note in other.notes)
    assert plain.compare(other).differences["clean"].value == 0


def test_a_model_that_knows_fewer_classes_is_tested_on_these(corpora: Corpora) -> None:
    result = evaluate(SpectrogramNet(2), corpora, classes=["sad", "angry"], conditions=["clean"])
    assert result.classes == ("sad", "angry")
    assert set(result.results["clean"].labels) == {0, 1}
    assert any(note.startswith("utterances left out") and "happy (" in note for note in result.notes)


def test_an_interrupted_test_continues(corpora: Corpora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {"classes": CLASSES, "out": tmp_path, "noise": corpora.noise}
    whole = evaluate(make_spectrogram_net(), corpora, **arguments | {"out": None})
    with monkeypatch.context() as patch:
        patch.setattr("fastser.evaluation.segment_trial.SegmentTrial.attacked", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            evaluate(make_spectrogram_net(), corpora, **arguments)
    with monkeypatch.context() as patch:
        for name in ("perturbed", "noisy"):
            patch.setattr(f"fastser.evaluation.segment_trial.SegmentTrial.{name}", _interrupt)
        with pytest.raises(KeyboardInterrupt):  # an attack perturbs
            evaluate(make_spectrogram_net(), corpora, **arguments)
        finished = evaluate(make_spectrogram_net(), corpora, **arguments | {"conditions": ["clean", "noise"]})
    for name in ("clean", "noise-0db"):
        np.testing.assert_array_equal(finished.results[name].posteriors, whole.results[name].posteriors)
    trained = make_spectrogram_net()
    with torch.no_grad():
        next(trained.parameters()).add_(1)
    changed = evaluate(trained, corpora, **arguments | {"conditions": ["clean"]})
    assert (changed.results["clean"].posteriors != whole.results["clean"].posteriors).any()


def _interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_the_model_is_left_as_it_was(corpora: Corpora) -> None:
    model = make_spectrogram_net().train()
    model.classifier.eval()
    evaluate(model, corpora, classes=CLASSES)
    assert (model.training, model.classifier.training) == (True, False)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_files_hold_what_is_printed(corpora: Corpora, tmp_path: Path) -> None:
    result = evaluate(make_spectrogram_net(), corpora, classes=CLASSES, noise=corpora.noise)
    page = result.save(tmp_path / "new" / "folder").read_text("utf-8")
    with (tmp_path / "new" / "folder" / "results.csv").open(newline="") as stream:
        rows = {row["condition"]: row for row in csv.DictReader(stream)}
    assert list(rows) == PAPER_CONDITIONS
    for line in result.lines:
        row = rows[line.condition]
        assert float(row["uar"]) == pytest.approx(100 * line.uar.value, abs=0.006)
        assert line.uar.low <= line.uar.value <= line.uar.high
        assert f"{100 * line.uar.value:.1f}" in page
        assert f"{100 * line.uar.value:.1f}" in str(result)
    latex = (tmp_path / "new" / "folder" / "results.tex").read_text()
    assert latex.count(r"\\") == 1 + len(rows)
    assert r"95 \% interval" in latex
    with np.load(tmp_path / "new" / "folder" / "posteriors.npz") as archive:
        np.testing.assert_array_equal(archive["bim/posteriors"], result.results["bim"].posteriors)
        assert archive["classes"].tolist() == CLASSES


def test_two_models_are_compared_condition_by_condition(corpora: Corpora, tmp_path: Path) -> None:
    first = evaluate(make_spectrogram_net(), corpora, classes=CLASSES, title="first")
    second = evaluate(loudness, corpora, classes=CLASSES, inputs="waveform", title="second")
    comparison = first.compare(second)
    assert list(comparison.differences) == ["clean"]
    expected = second.results["clean"].uar - first.results["clean"].uar
    assert comparison.differences["clean"].value == pytest.approx(expected)
    assert "second minus first" in comparison.save(tmp_path).read_text("utf-8")
    with pytest.raises(ValueError, match="the utterances differ"):
        first.compare(evaluate(loudness, corpora, classes=CLASSES, inputs="waveform", speakers=["Ses01F"]))


@pytest.mark.fast
@pytest.mark.parametrize(
    ("arguments", "error", "part"),
    [
        ({"classes": None}, ModelError, "give classes (--classes)"),
        ({"classes": ["angry"]}, ModelError, "two or more different names"),
        ({"classes": ["angry", "bliss"]}, ModelError, "fewer than two in common"),
        ({"classes": CLASSES, "inputs": "audio"}, ModelError, "'segments' or 'waveform'"),
        ({"classes": CLASSES, "conditions": ["telefone"]}, ModelError, "no 'telefone'; did you mean 'telephone'?"),
        ({"classes": CLASSES, "speakers": ["Ada"]}, ModelError, "has no speaker 'Ada'"),
        (
            {"classes": CLASSES, "noise": "demand"},
            ModelError,
            "noise (--noise) demand: expected NAME=PATH, such as demand=/data/DEMAND",
        ),
        ({"classes": CLASSES, "noise": "demand=/nowhere"}, CorpusError, "nowhere"),
        ({"classes": [*CLASSES, "calm"]}, ModelError, "one column per class"),
        ({"model": "nothing.safetensors"}, ModelError, "nothing.safetensors: there is no such model"),
        ({"model": 3, "classes": CLASSES}, ModelError, "got int"),
        ({"classes": CLASSES, "normalisation": (-20.0, -3.0)}, ModelError, "a deviation above 0"),
        ({"classes": CLASSES, "normalisation": (0.0, 1.0), "inputs": "waveform"}, ModelError, "inputs are waveforms"),
        (
            {"classes": CLASSES, "normalisation": (0.0, 1.0), "settings": BY_UTTERANCE},
            ModelError,
            "leave one of them out",
        ),
        (
            {"classes": CLASSES, "inputs": "waveform", "settings": BY_UTTERANCE},
            ModelError,
            "is of segments, and inputs",
        ),
        ({"classes": CLASSES, "conditions": ["noise-0db"]}, ModelError, "there are no noise recordings"),
        ({"classes": CLASSES, "conditions": ["cross-corpus"]}, ModelError, "there is no 'cross-corpus'"),
    ],
)
def test_bad_arguments_are_one_sentence(
    corpora: Corpora, arguments: dict[str, Any], error: type[Exception], part: str
) -> None:
    given = {"model": make_spectrogram_net()} | arguments
    with pytest.raises(error) as refusal:
        evaluate(given.pop("model"), corpora, **given)
    assert part in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.fast
@pytest.mark.parametrize("before", ["", "import fastser.evaluate; ", "from fastser.evaluate import main; "])
def test_the_door_is_a_function_whatever_was_imported_before(before: str) -> None:
    code = f"import fastser; {before}print(callable(fastser.evaluate))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"


def test_command_line(
    corpora: Corpora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import fastser.evaluate as door

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fastser-evaluate", *arguments])
        with pytest.raises(SystemExit) as ended:
            door.main()
        printed = capsys.readouterr()
        return int(str(ended.value.code)), printed.out, printed.err

    usual = ["--corpus", corpora.speech, "--classes", ",".join(CLASSES), "--out", str(tmp_path), "--device", "cpu"]
    small = [
        "--set",
        "attack.bim_steps=1",
        "--set",
        "spectrogram.segment_frames=64",
        "--set",
        "spectrogram.segment_hop=64",
    ]
    status, printed, _ = run("--model", "small_models:make_spectrogram_net", *usual, *small)
    assert status == 0
    assert "make_spectrogram_net on " in printed
    assert f"report: {tmp_path / 'report.md'}" in printed
    for model, part in (
        ("small_models", "expected MODULE:NAME"),
        ("no_such_module:make", "there is no module 'no_such_module'"),
        ("small_models:nothing", "the module has no 'nothing'"),
        ("small_models:CLASSES", "cannot be called"),
        ("small_models:loudness", "the function fails: TypeError"),
    ):
        status, printed, error = run("--model", model, *usual)
        assert (status, printed) == (2, "")
        assert part in error
        assert error.count("\n") == 1
    assert run(*usual)[0] == run("--model", "a:b", "--classes", "a,b")[0] == 2


class Scaled(nn.Module):
    """A net whose plain attribute changes its output."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.inner = make_spectrogram_net()
        self.factor = factor

    def forward(self, segments: Tensor) -> Tensor:
        logits: Tensor = self.inner(segments) * self.factor
        return logits


def test_nothing_old_is_served_after_a_plain_attribute_or_the_order_of_classes_changed(
    corpora: Corpora, tmp_path: Path
) -> None:
    def clean(factor: float, classes: list[str]) -> np.ndarray:
        arguments = {"classes": classes, "conditions": ["clean"], "out": tmp_path}
        result = evaluate(Scaled(factor), corpora, **arguments)
        return result.results["clean"].posteriors[:, [result.classes.index(name) for name in CLASSES]]

    assert np.abs(clean(1.0, CLASSES) - clean(5.0, CLASSES)).max() > 1e-3
    assert np.abs(clean(1.0, CLASSES) - clean(1.0, CLASSES[::-1])).max() > 1e-3
    assert len(list(tmp_path.glob("*.npz"))) == 3


def test_kept_results_have_the_same_names_in_every_process(
    corpora: Corpora, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conditions = ["attacks", "gain-1db"]
    evaluate(make_spectrogram_net(), corpora, classes=CLASSES, conditions=conditions, out=tmp_path, progress=True)
    code = f"""
        import fastser
        from small_models import CLASSES, make_spectrogram_net
        from small_runs import SMALL
        fastser.evaluate(make_spectrogram_net(), {corpora.speech!r}, classes=CLASSES, settings=SMALL,
                         conditions={conditions!r}, out={str(tmp_path)!r})
    """
    tests = Path(__file__).parents[1]
    paths = [tests.parent, tests.parent / "kernels", tests, tests / "robustness"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    again = subprocess.run(command, capture_output=True, text=True, env=environment)
    first, *others = capsys.readouterr().err.split("\n")
    assert first.startswith("reading ")
    assert others[:3] == ["testing clean", "testing fgsm", "testing bim"]
    assert again.returncode == 0
    assert "reading" in again.stderr
    assert "testing" not in again.stderr
    assert len(list(tmp_path.glob("*.npz"))) == 4


def test_a_model_that_returns_no_number_is_refused(corpora: Corpora) -> None:
    with pytest.raises(ModelError, match="returns NaN or infinity for 40 of 40 utterances under clean"):
        evaluate(Scaled(float("nan")), corpora, classes=CLASSES)


def test_a_model_that_fails_is_one_sentence(corpora: Corpora) -> None:
    with pytest.raises(ModelError, match="the model fails under clean: RuntimeError: mat1 and mat2"):
        evaluate(nn.Sequential(nn.Flatten(), nn.Linear(7, 4)), corpora, classes=CLASSES)


class Full(nn.Module):
    """A model for which memory is full."""

    def forward(self, segments: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_full_memory_is_not_a_fault_of_the_model(corpora: Corpora) -> None:
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        evaluate(Full(), corpora, classes=CLASSES)


def test_a_model_in_bfloat16_is_tested(corpora: Corpora) -> None:
    result = evaluate(make_spectrogram_net().bfloat16(), corpora, classes=CLASSES)
    plain = evaluate(make_spectrogram_net(), corpora, classes=CLASSES)
    np.testing.assert_allclose(result.results["fgsm"].posteriors, plain.results["fgsm"].posteriors, atol=0.05)
