"""Time of `fastser.predict` as a user sees it: `python -m benchmarks.prediction_time FOLDER --out PAGE.md`.

The command is run with the packaged model on one recording of the folder, and on all of them. Each time is that of a
whole process, from its start to its end, with the files in the cache of the system. It prints the page and writes it.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import soundfile

from fastser.recognition.inputs import files_of
from fastser.recognition.packaged_models import default_model
from fastser.report.markdown import markdown_table
from fastser.runtime.counted import counted
from fastser.runtime.provenance import environment


def seconds_of(inputs: Sequence[str]) -> float:
    """Return the wall time of one command.

    Raises:
        subprocess.CalledProcessError: If the command fails.
    """
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "fastser.predict", *inputs], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def page(folder: str, repeats: int) -> str:
    """Return the page of the measured times.

    Args:
        folder: Folder of recordings.
        repeats: Number of times that each command is timed, after one that is not.
    """
    files = files_of([folder], [])
    durations = [soundfile.info(path).duration for path in files]
    rows = []
    for name, inputs, duration in (
        ("one recording", [str(files[0])], durations[0]),
        (counted(len(files), "recording"), [folder], sum(durations)),
    ):
        seconds_of(inputs)
        times = [seconds_of(inputs) for _ in range(repeats)]
        spread = f"{min(times):.2f} to {max(times):.2f}"
        rows.append((name, f"{duration:.1f}", f"{median(times):.2f}", spread, f"{duration / median(times):.1f}"))
    columns = ("input", "seconds of speech", "median wall time (s)", "fastest to slowest", "times real time")
    blocks = [
        "# Time of `python -m fastser.predict`",
        f"Packaged model {default_model().stem}, whole processes, {counted(repeats, 'repeat')}.",
        markdown_table(columns, rows, left=1),
        "\n".join(f"- {name}: {text}" for name, text in environment("cpu").items()),
    ]
    return "\n\n".join(blocks) + "\n"


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print the page and write it."""
    parser = argparse.ArgumentParser("python -m benchmarks.prediction_time", description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", help="folder of recordings")
    parser.add_argument("--repeats", type=int, default=7, metavar="N")
    parser.add_argument("--out", type=Path, required=True, metavar="PAGE.md")
    options = parser.parse_args(given)
    if options.repeats < 1:
        parser.error("--repeats: expected 1 or more")
    if not files_of([options.folder], []):
        parser.error(f"{options.folder}: holds no audio file")
    text = page(options.folder, options.repeats)
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
