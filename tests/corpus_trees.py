"""Small corpora on disk for the tests of readers."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import soundfile as sf


def touch(*paths: Path) -> None:
    """Make empty files: readers do not decode, so most tests need names only."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_noise(path: Path, rate: int) -> None:
    """Write a tenth of a second of noise, for readers that look at the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, rate // 10), rate)


def iemocap_tree(root: Path, codes: Mapping[str, str], suffix: str = ".wav") -> None:
    """Write audio and label files for ids and codes, with the other lines that the real label files have."""
    dialogues: dict[str, list[str]] = {}
    for id, code in codes.items():
        session, dialogue = root / f"Session{id[4]}", id[:-5]
        touch(session / "sentences" / "wav" / dialogue / (id + suffix))
        dialogues.setdefault(dialogue, ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""])
        dialogues[dialogue] += [
            f"[6.2901 - 8.2357]\t{id}\t{code}\t[2.5000, 2.5000, 2.5000]",
            "C-E2:\tNeutral;\t()",
            "A-E3:\tval 3; act 2; dom  2;\t()",
            "",
        ]
    for dialogue, lines in dialogues.items():
        write_lines(root / f"Session{dialogue[4]}" / "dialog" / "EmoEvaluation" / f"{dialogue}.txt", lines)


def msp_improv_lines(labels: Mapping[str, str]) -> list[str]:
    """Return the lines of MSP-IMPROV's label file for ids and labels, with lines of single raters."""
    return [
        line
        for id, label in labels.items()
        for line in (
            f"UTD-{id[4:]}.avi; {label}; A:2.800000; V:3.000000; D:NaN ; N:4.000000;",
            "ZZ1; Neutral; Sad,Other; A:3.0; V:2.0; D:NaN; N:NaN;",
            "ZZ1; Neutral; Sad,Other; A:3.0; V:2.0; D:NaN; N:NaN;",
            "",
        )
    ]
