"""Table 1 for a corpus of your own, run from Python.

The script writes a manifest of generated audio: four speakers with five tones in each of two moods, "calm" and "tense".
Write such a CSV file for your own recordings, and the same call trains and tests on them. On the command line it is
`python -m fastser.reproduce --table 1 --source manifest=FILE.csv --classes all --scale quick --models cnn`.
"""

import csv
import tempfile
from pathlib import Path

import numpy as np
import soundfile as sf

from fastser.cli.main import run
from fastser.cli.options import CliOptions

RATE = 16_000
SPEAKERS = {"ann": 220.0, "bob": 110.0, "cleo": 240.0, "dan": 125.0}
"""Name and pitch in Hz."""


def write_corpus(folder: Path) -> Path:
    """Write the WAV files and the manifest, and return the manifest."""
    rng = np.random.default_rng(0)
    seconds = np.arange(RATE) / RATE
    manifest = folder / "moods.csv"
    with manifest.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "speaker", "emotion"])
        for speaker, pitch in SPEAKERS.items():
            for mood, loudness in (("calm", 0.05), ("tense", 0.3)):
                for number in range(5):
                    tone = loudness * np.sin(2 * np.pi * pitch * rng.uniform(0.9, 1.1) * seconds)
                    name = f"{speaker}-{mood}-{number}.wav"
                    sf.write(folder / name, tone + 0.01 * rng.standard_normal(RATE), RATE)
                    writer.writerow([name, speaker, mood])
    return manifest


def main() -> None:
    """Write the corpus, run Table 1 on it, and print its CSV file."""
    with tempfile.TemporaryDirectory() as folder:
        options = CliOptions(
            table=("1",),
            source=f"manifest={write_corpus(Path(folder))}",
            classes="all",
            scale="quick",
            models="cnn",
            executor="serial",  # runs of a second need no workers
            set=("attack.bim_steps=4",),
            out=Path(folder) / "results",
        )
        run(options, "python examples/run_on_a_manifest.py")
        print((options.out / "table1.csv").read_text())


if __name__ == "__main__":
    main()
