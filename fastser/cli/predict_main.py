"""The way from a request of `python -m fastser.predict` to predictions."""

import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from fastser.cli.console import make_console, say
from fastser.cli.output import Output
from fastser.cli.predict_request import PredictRequest
from fastser.cli.steps import steps
from fastser.data.audio import decode
from fastser.recognition.predictions import PredictionFile, header, text_of
from fastser.recognition.recogniser import FilePredictions, Recogniser, Record, load_model
from fastser.runtime.counted import counted
from fastser.runtime.device import named_device
from fastser.runtime.files import printable, storable

_SHORT_FILES_NAMED = 3
"""Number of files shorter than a segment that are named. The others are counted."""

_POINTS_PER_SEGMENT = 8
"""Number of segments of a timeline that begin within one segment."""


def predict_and_write(request: PredictRequest) -> int:
    """Label the files, write the predictions, and draw the timeline.

    Returns:
        Exit status: 0, 1 if some files are unusable, 2 if all are.

    Raises:
        UserError: If the model, the device or the hop cannot be used.
    """
    recogniser = load_model(request.model, named_device(request.device))
    if request.hop is not None:
        recogniser.check_hop(request.hop, per=request.per, argument="--hop")
    found = _printed(recogniser, request) if request.out is None else _appended(recogniser, request, request.out)
    if request.plot is not None and found.unusable == 0:
        _draw(recogniser, request.files[0], request.hop, request.plot)
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
    request: PredictRequest,
    write: Callable[[Sequence[Record]], object],
) -> _Count:
    """Label files, write their predictions, and name short and unusable files. A terminal shows the progress."""
    console, count = Console(stderr=True), _Count()
    console.quiet = not console.is_terminal
    with steps("labelling", len(paths), console) as on_file:
        on_file()
        for found in recogniser.predict_files(paths, per=request.per, hop=request.hop):
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
                print(f"error: {found.error}", file=sys.stderr)
            on_file()
    if (others := count.short - _SHORT_FILES_NAMED) > 0:
        print(f"note: the same for {counted(others, 'more file')}", file=sys.stderr)
    return count


def _too_short(found: FilePredictions, segment: float) -> str:
    return (
        f"note: {printable(found.path)}: {found.seconds:.1f} s, shorter than a segment of the model ({segment:.1f} s); "
        "the rest is padded"
    )


def _printed(recogniser: Recogniser, request: PredictRequest) -> _Count:
    """Label the files, and write the predictions to standard output, which gets no header without a prediction."""
    output, begun = Output(sys.stdout), False

    def write(records: Sequence[Record]) -> None:
        nonlocal begun
        output.write(("" if begun else header(recogniser.classes, request.format)) + text_of(records, request.format))
        begun = True

    found = _predicted(recogniser, request.files, request, write)
    output.flush()
    return found


def _appended(recogniser: Recogniser, request: PredictRequest, out: Path) -> _Count:
    """Label the files that the output does not hold yet, and print one line about them."""
    digest = hashlib.sha256(request.model.read_bytes()).hexdigest()
    identity = {"model": storable(request.model.name), "sha256": digest, "per": request.per, "hop": request.hop}
    if not all(path.is_absolute() for path in request.files):
        identity["folder"] = storable(str(Path.cwd()))  # relative paths mean other files elsewhere
    predictions = PredictionFile(out, recogniser.classes, request.format, identity)
    todo = [path for path in request.files if storable(str(path)) not in predictions.done]
    began = time.perf_counter()
    try:
        found = _predicted(recogniser, todo, request, predictions.add)
    finally:
        predictions.close()
    reused, seconds = len(request.files) - len(todo), time.perf_counter() - began
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
