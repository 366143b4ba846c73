"""ONNX files of trained models: waveforms in, posteriors out, written from files of weights."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from fastser_kernels import reference_kernels
from torch.export import Dim
from torch.onnx import OnnxExporterError

from fastser.recognition.build import model_of
from fastser.recognition.model_file import ENTRY, ModelDescription, read_model_file
from fastser.recognition.onnx_check import INPUT, OUTPUT, Agreement, agreement
from fastser.recognition.recogniser import Recogniser
from fastser.recognition.waveform_classifier import WaveformClassifier
from fastser.runtime.errors import UserError
from fastser.runtime.files import atomic_write, printable
from fastser.settings import EvaluationSettings

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
"""Version of ONNX's operators: the one that torch's exporter writes without a conversion."""

LARGEST_DIFFERENCE = 1e-4
"""Largest difference between a posterior of the file and of the recogniser."""

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""Packages of the extra `onnx`."""


class OnnxError(UserError, ValueError):
    """A model that cannot be exported. The message is one sentence."""


def write_onnx(model: Path, out: Path) -> Agreement:
    """Write a trained model with its features as ONNX, and compare it with its recogniser.

    The graph computes in float32, also where the evaluation of the model is in bfloat16.

    Args:
        model: File of weights.
        out: ONNX file. Its folder is made if it is missing. The file is kept only if it agrees with the recogniser.

    Returns:
        Agreement of the file with the recogniser.

    Raises:
        OnnxError: If a package is missing, torch cannot export the model, or the file does not agree.
        ModelError: If the file of weights cannot be used.
        OSError: If the file cannot be written.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise OnnxError(
            f"not installed: {', '.join(missing)}; install the extra onnx: pip install 'fastser[onnx]', or '.[onnx]' "
            "in a clone"
        )
    description, weights = read_model_file(model)
    in_float32 = description.settings.model_copy(update={"evaluation": EvaluationSettings(precision="float32")})
    network = model_of(model, description, weights)
    recogniser = Recogniser(network, replace(description, settings=in_float32))
    graph = onnx_model(WaveformClassifier(network, description), description)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out) as part:
        part.write_bytes(graph.SerializeToString())
        found = agreement(part, recogniser, description.settings.spectrogram)
        if not found.largest <= LARGEST_DIFFERENCE:  # NaN is not allowed either
            raise OnnxError(
                f"{printable(out)}: not written, because its posteriors differ from those of the recogniser by up to "
                f"{found.largest:.1e}, where {LARGEST_DIFFERENCE:g} is allowed"
            )
    return found


def onnx_model(classifier: WaveformClassifier, description: ModelDescription) -> "ModelProto":
    """Return the graph of a classifier with dynamic batch and length, and with its description as metadata.

    Raises:
        OnnxError: If torch cannot export the model.
    """
    example = torch.zeros(3, 3 * description.settings.audio.sample_rate, device="cpu")
    sizes = ({0: Dim("batch", min=1), 1: Dim("samples", min=1)},)
    with _quiet(), reference_kernels(), torch.no_grad():
        try:
            program = torch.onnx.export(
                classifier.eval(),
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=sizes,
                opset_version=OPSET,
                verbose=False,
            )
        except OnnxExporterError as error:
            first = str(error).strip().partition("\n")[0]
            raise OnnxError(f"torch.onnx cannot export the model '{description.architecture}' ({first})") from None
    assert program is not None
    graph: ModelProto = program.model_proto
    _without_traces(graph)
    audio = description.settings.audio
    graph.doc_string = (
        f"{INPUT}: float32 [batch, samples], mono, full scale 1, {audio.sample_rate} Hz. {OUTPUT}: float32 [batch, "
        f"classes] of {', '.join(description.classes)}, averaged over the segments of each waveform."
    )
    metadata = {
        "classes": json.dumps(description.classes),
        "sample_rate": str(audio.sample_rate),
        ENTRY: json.dumps(description.to_json()),
    }
    del graph.metadata_props[:]
    for key, value in metadata.items():
        graph.metadata_props.add(key=key, value=value)
    return graph


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what torch's exporter says about itself and about packages that are not needed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _without_traces(graph: "ModelProto") -> None:
    """Remove what the exporter notes about source lines, whose paths tell of the machine, and inner shapes."""
    del graph.graph.value_info[:]
    del graph.graph.metadata_props[:]
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        del value.metadata_props[:]
