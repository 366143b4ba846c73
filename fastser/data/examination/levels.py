"""Levels of recordings: by speaker, and between corpora."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from fastser.data.corpora.files import first_few
from fastser.data.examination.files import QUIET_DB, ExaminedFile, Sound
from fastser.data.examination.finding import Finding
from fastser.runtime.counted import counted

LARGE_DIFFERENCE_DB = 6.0
"""Difference of levels that is reported, a factor of two in amplitude."""

_ANSWER = "--set audio.level=equal gives all recordings one level, and then loudness is no cue to emotion either"


def levels_by_speaker(speakers: Sequence[str], files: Sequence[ExaminedFile]) -> dict[str, float]:
    """Return the median level of each speaker's recordings in dB relative to full scale, sorted by speaker."""
    found: dict[str, list[float]] = defaultdict(list)
    for speaker, file in zip(speakers, files, strict=True):
        if isinstance(file.sound, Sound):
            found[speaker].append(file.sound.level_db)
    return {speaker: median(levels) for speaker, levels in sorted(found.items())}


def median_level(files: Sequence[ExaminedFile]) -> float | None:
    """Return the median level of files in dB relative to full scale, or None if none can be used."""
    levels = [file.sound.level_db for file in files if isinstance(file.sound, Sound)]
    return median(levels) if levels else None


def level_findings(speakers: Sequence[str], files: Sequence[ExaminedFile], names: Sequence[str]) -> list[Finding]:
    """Return findings about the levels of one corpus.

    Args:
        speakers: Speaker of each file.
        files: Its files.
        names: Name of each file in sentences.
    """
    of_speakers = levels_by_speaker(speakers, files)
    level = median_level(files)
    if level is None:
        return []
    quiet, loud = (choose(of_speakers, key=of_speakers.__getitem__) for choose in (min, max))
    spread = of_speakers[loud] - of_speakers[quiet]
    said = f"the median level is {-level:.0f} dB below full scale"
    by_speaker = f"{of_speakers[quiet]:.0f} dB (speaker {quiet}) to {of_speakers[loud]:.0f} dB (speaker {loud})"
    if spread > LARGE_DIFFERENCE_DB:
        findings = [
            Finding(
                "note",
                f"{said}, that of speakers from {by_speaker}: level tells speakers apart. {_ANSWER}. "
                "--set spectrogram.normalisation=speaker removes the difference between speakers only",
            )
        ]
    else:
        findings = [Finding("ok", f"{said}, that of speakers from {by_speaker}")]
    silent = [
        name
        for name, file in zip(names, files, strict=True)
        if isinstance(file.sound, Sound) and file.sound.level_db < QUIET_DB
    ]
    if silent:
        findings.append(
            Finding(
                "warning",
                f"{counted(len(silent), 'nearly silent file')}, below {QUIET_DB:.0f} dB: {first_few(silent)}",
            )
        )
    return findings


def difference_between(levels: Mapping[str, float]) -> list[Finding]:
    """Return a finding about the level of each corpus relative to the first one.

    Args:
        levels: Median level of each corpus by title, in dB.
    """
    (first, level), *others = levels.items()
    findings = []
    for title, other in others:
        difference = other - level
        low, high = (title, first) if difference < 0 else (first, title)
        size = abs(difference)
        if size > LARGE_DIFFERENCE_DB:
            findings.append(
                Finding(
                    "warning",
                    f"{low} is {size:.0f} dB quieter than {high}, a factor of {10 ** (size / 20):.0f} in amplitude. "
                    f"Every value of a spectrogram in dB moves by {size:.0f}, so a model trained on one corpus gets "
                    "inputs from the other that it has never seen, and may choose one class for all. " + _ANSWER,
                )
            )
        else:
            findings.append(Finding("ok", f"{low} and {high} have about the same level ({size:.1f} dB difference)"))
    return findings
