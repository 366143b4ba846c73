"""Checks of the classes and utterances that a corpus was asked for."""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from fastser.runtime.counted import counted

from .files import first_few
from .utterance import CorpusError, Utterance

_LABELS_SHOWN = 20
"""Number of labels in an error message: more than any known corpus has, few enough for one screen."""


def require_classes(
    path: Path,
    title: str,
    classes: Sequence[str],
    found: Mapping[str, int],
    published: Collection[str],
    without_audio: Sequence[tuple[str, str]],
) -> None:
    """Check that a corpus can have all chosen classes.

    A copy that lacks a class of the published corpus is incomplete, which is warned of elsewhere.

    Args:
        path: Place of the corpus, for messages.
        title: Title of the corpus, for messages.
        classes: The chosen classes.
        found: Number of utterances of each label.
        published: Labels of a complete copy, if they are known.
        without_audio: (id, label) of each labelled utterance whose audio is missing.

    Raises:
        CorpusError: If a class is named twice, or is neither found nor published, or there are fewer than two classes.
    """
    for name, count in Counter(classes).items():
        if count > 1:
            raise CorpusError(f"{path}: the class '{name}' is chosen {count} times; name it once in --classes")
    if not found and without_audio:
        raise CorpusError(
            f"{path}: {title} has {len(without_audio)} labelled utterances but the audio of none of them, such as"
            f" {without_audio[0][0]}; give a folder that holds the audio files too"
        )
    if not found:
        raise CorpusError(f"{path}: {title} has no labelled utterance")
    shown = first_few([f"{name} ({count})" for name, count in sorted(found.items())], _LABELS_SHOWN)
    choose = f"its labels are {shown}; choose among them with --classes"
    if missing := [name for name in classes if not found.get(name, 0) and name not in published]:
        lost = sum(label in missing for _, label in without_audio)
        note = f" (labelled but without audio: {lost})" if lost else ""
        raise CorpusError(f"{path}: {title} has no utterance of {', '.join(missing)}{note}; {choose}")
    if len(classes) < 2:
        raise CorpusError(f"{path}: {title} needs at least two classes, got {', '.join(classes) or 'none'}; {choose}")


def require_distinct(path: Path, title: str, utterances: Sequence[Utterance]) -> None:
    """Check that no id and no audio file occurs twice, also where its path is written in two ways or is a link.

    Hard links with the same label and speaker pass, because storage that keeps equal contents once makes them.

    Raises:
        CorpusError: If one does.
    """
    owners: dict[str | tuple[int, int], Utterance] = {}
    for utterance in utterances:
        for file in (os.path.normpath(utterance.path), _identity(utterance.path)):
            first = utterance if file is None else owners.setdefault(file, utterance)
            if first.id == utterance.id:
                continue
            if (first.emotion, first.speaker, first.split) != (utterance.emotion, utterance.speaker, utterance.split):
                raise CorpusError(
                    f"{path}: {first.id!r} and {utterance.id!r} are the same file under two labels or speakers"
                    f" ({_described(first)}; {_described(utterance)}); keep one of them"
                )
            if os.path.realpath(first.path) == os.path.realpath(utterance.path):
                raise CorpusError(f"{path}: {first.id!r} and {utterance.id!r} are the same file; keep one of them")
    for id, count in Counter(utterance.id for utterance in utterances).items():
        if count > 1:
            copies = sorted({str(utterance.path) for utterance in utterances if utterance.id == id})
            raise CorpusError(f"{path}: {title} has the utterance {id} more than once: {first_few(copies)}")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return the device and the number of a file, which all links to it share, or None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _described(utterance: Utterance) -> str:
    parts = (utterance.emotion, f"speaker {utterance.speaker}", utterance.split)
    return ", ".join(filter(None, parts))


def require_whole_split(path: Path, utterances: Sequence[Utterance]) -> None:
    """Check that either all utterances or none belong to a part of a split.

    Raises:
        CorpusError: If only some do.
    """
    without = [utterance.id for utterance in utterances if utterance.split is None]
    if 0 < len(without) < len(utterances):
        raise CorpusError(
            f"{path}: some utterances have a split, {len(without)} have none: {first_few(without)};"
            " give a split to all utterances or to none"
        )


def equal_contents(utterances: Sequence[Utterance], digests: Sequence[str]) -> list[str]:
    """Return a sentence if files of equal contents have different labels, and one if they have different speakers.

    Args:
        utterances: Utterances.
        digests: Digest of the contents of each file.
    """
    groups: dict[str, list[Utterance]] = defaultdict(list)
    for utterance, content in zip(utterances, digests, strict=True):
        groups[content].append(utterance)
    said = []
    for field in ("label", "speaker"):
        pairs = [
            f"{first.id} ({value}) and {other.id} ({others})"
            for first, *rest in groups.values()
            for other in rest
            if (value := _value(first, field)) != (others := _value(other, field))
        ]
        if pairs:
            said.append(
                f"{counted(len(pairs), 'file')} with the same audio as one of another {field}: {first_few(pairs)}"
            )
    return said


def _value(utterance: Utterance, field: str) -> str:
    return utterance.emotion if field == "label" else utterance.speaker


def speakers_in_several_parts(utterances: Sequence[Utterance]) -> list[str]:
    """Return the speakers that occur in more than one part of the split, each with its parts."""
    parts: dict[str, set[str]] = defaultdict(set)
    for utterance in utterances:
        if utterance.split is not None:
            parts[utterance.speaker].add(utterance.split)
    return [f"{speaker} ({', '.join(sorted(names))})" for speaker, names in sorted(parts.items()) if len(names) > 1]
