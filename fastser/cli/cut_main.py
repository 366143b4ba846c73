"""The way from a list of segments to files of their own and a manifest."""

import shlex
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

from fastser.cli.console import make_console, say
from fastser.cli.cut_options import CutOptions
from fastser.cli.options import UsageError
from fastser.cli.steps import steps
from fastser.cli.writable import writable_folder
from fastser.data.corpora.files import first_few
from fastser.data.cutting import CutList, cut, overlaps_of_speakers, read_segments
from fastser.runtime.counted import counted
from fastser.runtime.files import printable

_SHOWN = 10
"""Number of emotions that are printed."""


def run(options: CutOptions) -> int:
    """Cut the segments, write the manifest and print what was done.

    Returns:
        Exit status 0.

    Raises:
        UsageError: If SOURCE or OUT is missing, or OUT cannot be written.
        CorpusError: If the source lists no segments, or some of them cannot be cut.
    """
    if options.source is None or options.out is None:
        raise UsageError("give a list of segments and a folder: python -m fastser.cut SOURCE OUT")
    out = writable_folder(options.out, "OUT")
    console = make_console()
    listed = read_segments(options.source)
    say(console, *_summary(listed))
    with ExitStack() as stack:

        def on_segment(total: int) -> Callable[[str], object]:
            return stack.enter_context(steps("cutting the recordings", total, console))

        done = cut(listed, out, on_segment)
    kept = f", {done.kept} already there" if done.kept else ""
    say(
        console,
        f"{counted(done.new, 'segment')} cut from {counted(done.recordings, 'recording')}{kept}",
        f"manifest: {done.manifest}",
        f"next: python -m fastser.doctor --source {shlex.quote(f'manifest={done.manifest}')}",
    )
    return 0


def _summary(listed: CutList) -> list[str]:
    """Return lines that say what the list holds."""
    recordings = len({segment.audio for segment in listed.segments})
    speakers = len({segment.labels["speaker"] for segment in listed.segments})
    emotions = Counter(segment.labels["emotion"] for segment in listed.segments)
    shown = [f"{printable(name)} ({count})" for name, count in sorted(emotions.items())]
    size = counted(len(listed.segments), "segment")
    lines = [
        f"{size} of {counted(recordings, 'recording')}, {counted(speakers, 'speaker')}",
        f"emotion: {len(emotions)} different, {first_few(shown, _SHOWN)}",
    ]
    if overlaps := overlaps_of_speakers(listed):
        begin = "segment begins" if len(overlaps) == 1 else "segments begin"
        first = overlaps[0]
        lines.append(
            f"warning: {len(overlaps)} {begin} before one of another speaker ends, such as that of"
            f" {printable(first.file)} at {first.start:g} s; folds by speaker have the shared audio on both sides"
        )
    return lines
