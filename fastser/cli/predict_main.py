"""The way from the options of `python -m fastser.predict` to predictions."""

import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from fastser.cli.console import make_console, say
from fastser.cli.options import UsageError
from fastser.cli.output import Output
from fastser.cli.predict_options import Format, PredictOptions
from fastser.cli.steps import steps
from fastser.cli.writable import writable_file
from fastser.data.audio import decode
from fastser.recognition.inputs import files_of
from fastser.recognition.packaged_models import default_model, model_path, names_model
from fastser.recognition.predictions import PredictionFile, header, text_of
from fastser.recognition.recogniser import FilePredictions, Per, Recogniser, Record, load_model
from fastser.runtime.counted import counted
from fastser.runtime.device import named_device
from fastser.runtime.files import printable, storable

_SHORT_FILES_NAMED = 3
"""Number of files shorter than a segment that are named. The others are counted."""

_POINTS_PER_SEGMENT = 8
"""Number of segments of a timeline that begin within one segment."""


def predict_and_write(options: PredictOptions) -> int:
    """Label the files, write the predictions, and draw the timeline.

    Returns:
        Exit status: 0, 1 if some files are unusable, 2 if all are.

    Raises:
        UserError: If arguments cannot be used.
    """
    kind, per, plot = options.chosen_format(), _per(options), options.checked_plot()
    model, inputs = _model_and_inputs(options.inputs)
    paths = files_of(inputs, _standard_input())
    if not paths:
        raise UsageError("there is no file to label; give files, a folder, or - for a list on standard input")
    if plot is not None and len(paths) > 1:
        raise UsageError(f"--plot draws one file, and {len(paths)} are given; give one file")
    out = None if options.out is None else writable_file(options.out, "--out")
    plot = None if plot is None else writable_file(plot, "--plot")
    recogniser = load_model(model, named_device(options.device))
    if options.hop is not None:
        recogniser.check_hop(options.hop, per=per, argument="--hop")
    if out is None:
        output = Output(sys.stdout)
        output.write(header(recogniser.classes, kind))
        found = _predicted(recogniser, paths, per, options.hop, lambda records: output.write(text_of(records, kind)))
        output.flush()
    else:
        found = _appended(recogniser, model, paths, per, kind, out, options.hop)
    if plot is not None and found.unusable == 0:
        _draw(recogniser, paths[0], options.hop, plot)
    return 0 if not found.unusable else 1 if found.usable else 2


@dataclass
class _Count:
    """Number of usable, of short and of unusable files, and the duration of the usable ones."""

    usable: int = 0
    short: int = 0
    unusable: int = 0
    seconds: float = 0.0


def _predicted(
    recogniser: Recogniser,
    paths: Sequence[Path],
    per: Per,
    hop: float | None,
    write: Callable[[Sequence[Record]], object],
) -> _Count:
    """Label files, write their predictions, and name short and unusable files. A terminal shows the progress."""
    console, count = Console(stderr=True), _Count()
    console.quiet = not console.is_terminal
    with steps("labelling", len(paths), console) as on_file:
        on_file()
        for found in recogniser.predict_files(paths, per=per, hop=hop):
            if found.error is None:
                count.usable += 1
                count.seconds += found.seconds
                write(found.records)
                if found.seconds < recogniser.shortest_seconds:
                    count.short += 1
                    if count.short <= _SHORT_FILES_NAMED:
                        print(_too_short(found, recogniser.shortest_seconds), file=sys.stderr)
            else:
                count.unusable += 1
                print(f"unusable: {found.error}", file=sys.stderr)
            on_file()
    if (others := count.short - _SHORT_FILES_NAMED) > 0:
        print(f"note: the same for {counted(others, 'more file')}", file=sys.stderr)
    return count


def _too_short(found: FilePredictions, segment: float) -> str:
    return (
        f"note: {printable(found.path)}: {found.seconds:.1f} s, shorter than a segment of the model ({segment:.1f} s); "
        "the rest is padded"
    )


def _appended(
    recogniser: Recogniser, model: Path, paths: Sequence[Path], per: Per, kind: Format, out: Path, hop: float | None
) -> _Count:
    """Label the files that the output does not hold yet, and print one line about them."""
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    identity = {"model": storable(model.name), "sha256": digest, "per": per, "hop": hop}
    if not all(path.is_absolute() for path in paths):
        identity["folder"] = storable(str(Path.cwd()))  # relative paths mean other files elsewhere
    predictions = PredictionFile(out, recogniser.classes, kind, identity)
    todo = [path for path in paths if storable(str(path)) not in predictions.done]
    began = time.perf_counter()
    try:
        found = _predicted(recogniser, todo, per, hop, predictions.add)
    finally:
        predictions.close()
    reused, seconds = len(paths) - len(todo), time.perf_counter() - began
    speech = f"{found.seconds:.0f} s of audio in {seconds:.1f} s"
    unusable = f", {found.unusable} unusable" if found.unusable else ""
    labelled = f"{counted(found.usable, 'file')} labelled ({speech}), {reused} already in the file{unusable}"
    say(make_console(), f"{out}: {labelled}")
    found.usable += reused
    return found


def _draw(recogniser: Recogniser, path: Path, hop: float | None, out: Path) -> None:
    from fastser.report.timeline import draw_timeline  # imports matplotlib

    if hop is None:
        hop = recogniser.segment_seconds / _POINTS_PER_SEGMENT
    waveform, rate = decode(path, recogniser.sample_rate), recogniser.sample_rate
    draw_timeline(out, waveform, rate, recogniser.predict(path, per="segment", hop=hop), recogniser.classes)
    print(f"timeline: {out}", file=sys.stderr)


def _standard_input() -> Iterator[bytes]:
    """Yield the lines of standard input. There are none if the program was started without it."""
    if sys.stdin is not None:
        yield from sys.stdin.buffer


def _per(options: PredictOptions) -> Per:
    if options.per not in ("file", "segment"):
        raise UsageError(f"--per {options.per}: expected file or segment")
    return options.per  # type: ignore[return-value]  # one of the two


def _model_and_inputs(inputs: Sequence[str]) -> tuple[Path, Sequence[str]]:
    """Return the path of the model, and the other inputs.

    Raises:
        ModelError: If no model is named and there is no packaged one, or the named one does not exist.
    """
    if inputs and names_model(inputs[0]):
        return model_path(inputs[0]), inputs[1:]
    return default_model(), inputs
