"""The options of `python -m fastser.predict`, checked, with model and files. Torch is not imported here."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastser.cli.options import UsageError
from fastser.cli.predict_options import Format, PredictOptions
from fastser.cli.writable import writable_file
from fastser.recognition.inputs import files_of
from fastser.recognition.packaged_models import default_model, model_path, names_model

if TYPE_CHECKING:
    from fastser.recognition.recogniser import Per


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """Files to label, the model that labels them, and the place of the predictions.

    Attributes:
        model: File of the model.
        files: Audio files, at least one.
        per: Unit of a prediction.
        format: Format of the predictions.
        hop: Seconds from one segment to the next, or None.
        out: File of the predictions. None is standard output.
        plot: File of the timeline, or None.
        device: Name of the device.
    """

    model: Path
    files: Sequence[Path]
    per: "Per"
    format: Format
    hop: float | None
    out: Path | None
    plot: Path | None
    device: str


def request_of(options: PredictOptions) -> PredictRequest:
    """Check the options, and find the model and the files.

    Raises:
        UserError: If an option cannot be used, there is no such model, or there is no file to label.
    """
    kind, per, plot = options.chosen_format(), _per(options), options.checked_plot()
    model, inputs = _model_and_inputs(options.inputs)
    files = files_of(inputs, _standard_input())
    if not files:
        raise UsageError("there is no file to label; give files, a folder, or - for a list on standard input")
    if plot is not None and len(files) > 1:
        raise UsageError(f"--plot draws one file, and {len(files)} are given; give one file")
    return PredictRequest(
        model=model,
        files=files,
        per=per,
        format=kind,
        hop=options.hop,
        out=None if options.out is None else writable_file(options.out, "--out"),
        plot=None if plot is None else writable_file(plot, "--plot"),
        device=options.device,
    )


def _per(options: PredictOptions) -> "Per":
    if options.per not in ("file", "segment"):
        raise UsageError(f"--per {options.per}: expected file or segment")
    return options.per  # type: ignore[return-value]  # one of the two


def _standard_input() -> Iterator[bytes]:
    """Yield the lines of standard input. There are none if the program was started without it."""
    if sys.stdin is not None:
        yield from sys.stdin.buffer


def _model_and_inputs(inputs: Sequence[str]) -> tuple[Path, Sequence[str]]:
    """Return the path of the model, and the other inputs.

    Raises:
        ModelError: If no model is named and there is no packaged one, or the named one does not exist.
    """
    if inputs and names_model(inputs[0]):
        return model_path(inputs[0]), inputs[1:]
    return default_model(), inputs
