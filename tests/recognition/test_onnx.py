"""ONNX files give the posteriors of the recogniser, and the command keeps no file that does not."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import SMALL

import fastser
from fastser.cli.export_options import ExportOptions
from fastser.data.normalisation import Normalisation
from fastser.export import export
from fastser.models import build_model
from fastser.recognition import onnx_file
from fastser.recognition.model_file import ModelDescription, write_model_file
from fastser.recognition.onnx_file import write_onnx
from fastser.training.yardsticks import UtteranceClassifier

onnx = pytest.importorskip("onnx", reason="onnx is not installed; install the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; install the extra onnx")
pytest.importorskip("onnxscript", reason="onnxscript is not installed; install the extra onnx")

CLASSES = ("angry", "happy", "neutral", "sad")
ROOT = Path(__file__).parents[2]


def model_file(folder: Path, name: str, *settings: str) -> Path:
    """Write a model with random weights whose posteriors differ between recordings."""
    chosen = SMALL.override(settings)
    generator = torch.Generator().manual_seed(0)
    if name == "linear":
        weight, bias = torch.randn(4, 64, generator=generator), torch.zeros(4)
        network: torch.nn.Module = UtteranceClassifier(weight, bias, torch.zeros(64), torch.ones(64))
    else:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = build_model(name, 4, chosen.model, chosen.spectrogram.segment_frames, 32)
    standardised = chosen.spectrogram.normalisation == "utterance"
    normalisation = Normalisation(0.1, 0.9) if standardised else Normalisation(-40.0, 15.0)
    path = folder / f"{name}.safetensors"
    write_model_file(path, network.state_dict(), ModelDescription(name, CLASSES, normalisation, chosen))
    return path


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("cnn", []),
        pytest.param(
            "cnn-lstm", ["spectrogram.last_segment=shifted", "spectrogram.segment_hop=24"], marks=pytest.mark.slow
        ),
        pytest.param(
            "densenet",
            ["spectrogram.kind=log-mel", "spectrogram.normalisation=utterance", "audio.level=equal"],
            marks=pytest.mark.slow,
        ),
        ("densenet-lstm", ["spectrogram.last_segment=dropped", "spectrogram.segment_hop=40"]),
        ("proposed", ["spectrogram.segment_hop=24", "audio.level=equal", "evaluation.precision=bfloat16"]),
        ("linear", ["spectrogram.normalisation=utterance"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_posteriors_are_those_of_the_recogniser(name: str, settings: list[str], tmp_path: Path) -> None:
    path, out = model_file(tmp_path, name, *settings), tmp_path / "folder" / "model.onnx"
    assert write_onnx(path, out).largest < 1e-4
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    recogniser = fastser.load_model(model_file(tmp_path, name, *settings, "evaluation.precision=float32"))
    hop, segment = 160, 63 * 160 + 400
    rng = np.random.default_rng(0)
    answers = []
    for samples in (100, segment - 1, segment, segment + hop, 4 * segment + 77):
        for batch in (1, 3):
            levels = rng.choice([1e-4, 0.01, 0.3], (batch, 1))
            waveforms = (levels * rng.standard_normal((batch, samples)).cumsum(1).clip(-1, 1)).astype(np.float32)
            (posteriors,) = session.run(["posteriors"], {"waveform": waveforms})
            for found, waveform in zip(posteriors, waveforms, strict=True):
                (record,) = recogniser.predict(waveform, 16_000)
                answers.append([record[f"p_{name}"] for name in CLASSES])
                np.testing.assert_allclose(found, answers[-1], rtol=0, atol=1e-4)
    assert np.std(answers, axis=0).max() > 0.01
    (silence,) = session.run(["posteriors"], {"waveform": np.zeros((2, segment), np.float32)})
    assert np.isfinite(silence).all()


def test_the_command_writes_a_file_that_describes_itself_and_keeps_none_that_does_not_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = model_file(tmp_path, "linear"), tmp_path / "modèle.onnx"
    screen = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(screen, encoding="ascii", write_through=True))
    assert export(ExportOptions(model=str(path), out=out)) == 0
    assert b"mod\\xe8le.onnx: 0." in screen.getvalue()
    assert b"of the recogniser differ by at most" in screen.getvalue()
    graph = onnx.load(out)
    onnx.checker.check_model(graph, full_check=True)
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert json.loads(metadata["classes"]) == list(CLASSES)
    assert metadata["sample_rate"] == "16000"
    assert json.loads(metadata["fastser"]) == fastser.load_model(path).metadata
    (taken,), (given,) = graph.graph.input, graph.graph.output
    assert [size.dim_param for size in taken.type.tensor_type.shape.dim] == ["batch", "samples"]
    assert [size.dim_param or size.dim_value for size in given.type.tensor_type.shape.dim] == ["batch", 4]
    assert str(ROOT).encode() not in out.read_bytes()  # the exporter notes the source lines of each node

    basis = next(tensor for tensor in graph.graph.initializer if tensor.name == "basis")
    basis.CopyFrom(onnx.numpy_helper.from_array(0.9 * onnx.numpy_helper.to_array(basis), "basis"))
    monkeypatch.setattr(onnx_file, "onnx_model", lambda *_: graph)
    assert export(ExportOptions(model=str(path), out=tmp_path / "folder" / "model.onnx")) == 2
    assert "model.onnx: not written, because its posteriors differ" in capsys.readouterr().err
    assert not [*(tmp_path / "folder").iterdir()]


@pytest.mark.fast
def test_unusable_arguments_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = str(model_file(tmp_path, "linear")), tmp_path / "model.onnx"
    by_speaker = str(model_file(tmp_path, "cnn", "spectrogram.normalisation=speaker"))
    for model, file, message in (
        (None, None, "give the model and the file to write"),
        (path, None, "give the model and the file to write"),
        (path, tmp_path / "model.safetensors", "must end in .onnx"),
        (str(tmp_path / "none.safetensors"), out, "there is no such model"),
        (by_speaker, out, "standardises spectrograms by speaker"),
    ):
        assert export(ExportOptions(model=model, out=file)) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None if name == "onnxruntime" else object())
    assert export(ExportOptions(model=path, out=out)) == 2
    advice = (
        "not installed: onnxruntime; install the extra onnx: pip install 'fastser[onnx]', or '.[onnx]' in a clone\n"
    )
    assert capsys.readouterr().err.endswith(advice)
