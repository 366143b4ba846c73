"""Patterns of file names, such as `{speaker}_{emotion}_*.wav`, that say which part of a name is what."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .canonical import canonical_emotion
from .files import ANY_AUDIO, audio_files, first_few, require_folder
from .utterance import CorpusError

FIELDS = ("speaker", "emotion", "session", "split", "text")
"""Fields of a pattern, which are columns of a manifest."""

_REQUIRED = ("speaker", "emotion")
_PLACES = re.compile(r"\{(?P<field>[^{}]*)\}|(?P<sign>[*?{}])")
_ADVICE = "A field ends at the punctuation mark after it. Put * for the rest, as in '{speaker}_{emotion}_*.wav'"
_SPLITS = {"train": "train", "validation": "validation", "dev": "validation", "val": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A pattern of file names.

    A field is one or more characters other than "/". It does not contain the punctuation mark next to it: in
    `{speaker}_{emotion}_*.wav` neither field contains "_". "*" matches any text without "/", "?" one character. A
    pattern without "/" is matched against the name of a file, otherwise against the end of its path.

    Attributes:
        text: The pattern.
        fields: Its fields, in their order.
        longest: Regular expression that gives each field as much as possible.
        shortest: The same with as little as possible. A name is ambiguous if the two differ.
    """

    text: str
    fields: tuple[str, ...]
    longest: re.Pattern[str]
    shortest: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> "NamePattern":
        """Read a pattern.

        Raises:
            CorpusError: If a field is unknown, given twice or missing, or a brace is open.

        Example:
            >>> NamePattern.parse("{speaker}_{emotion}_*.wav").match("actors/ann_happy_01_b.wav")
            {'speaker': 'ann', 'emotion': 'happy'}
        """
        fields: list[str] = []
        parts: list[str] = []
        end = 0
        for place in _PLACES.finditer(text):
            parts.append(re.escape(text[end : place.start()]))
            end = place.end()
            field = place["field"]
            if field is None:
                parts.append(_sign(place["sign"], text))
                continue
            if field not in FIELDS:
                raise CorpusError(f"pattern {text}: there is no field {{{field}}}; the fields are {', '.join(FIELDS)}")
            if field in fields:
                raise CorpusError(f"pattern {text}: has {{{field}}} more than once; give it once and * for the other")
            fields.append(field)
            beside = {sign for sign in (*text[: place.start()][-1:], *text[end:][:1]) if sign not in "*?{}/"}
            excluded = "".join(re.escape(sign) for sign in sorted(beside) if not sign.isalnum())
            parts.append(f"(?P<{field}>[^/{excluded}]+)")
        for field in _REQUIRED:
            if field not in fields:
                raise CorpusError(f"pattern {text}: has no {{{field}}}; a manifest needs {' and '.join(_REQUIRED)}")
        longest = "(?:.*/)?" + "".join([*parts, re.escape(text[end:])])
        shortest = longest.replace("]+)", "]+?)").replace("[^/]*", "[^/]*?")
        return cls(text, tuple(fields), re.compile(longest), re.compile(shortest))

    def match(self, path: str) -> dict[str, str] | None:
        """Return the fields of a path, or None if it does not match.

        Raises:
            CorpusError: If the pattern explains the path in two ways.
        """
        longest, shortest = self.longest.fullmatch(path), self.shortest.fullmatch(path)
        if longest is None or shortest is None:
            return None
        if longest.groupdict() != shortest.groupdict():
            raise CorpusError(
                f"pattern {self.text}: {path} can be read as {_shown(shortest)} and as {_shown(longest)};"
                " separate the fields by a character that no name contains"
            )
        return longest.groupdict()


def _sign(sign: str, text: str) -> str:
    if sign in "{}":
        raise CorpusError(f"pattern {text}: a brace is open; write a field as {{speaker}}")
    return "[^/]*" if sign == "*" else "[^/]"


def _shown(match: re.Match[str]) -> str:
    return ", ".join(f"{field} {value!r}" for field, value in match.groupdict().items())


@dataclass(frozen=True, slots=True)
class Understood:
    """Audio files of a folder, as a pattern explains them.

    Attributes:
        rows: Path and fields of each file that matches, with the labels of the manifest, sorted by path.
        others: Audio files that do not match.
        labels: Emotion in the file names -> label in the manifest.
    """

    rows: tuple[tuple[Path, Mapping[str, str]], ...]
    others: tuple[Path, ...]
    labels: Mapping[str, str]


def understand(folder: Path, pattern: NamePattern, renamed: Mapping[str, str]) -> Understood:
    """Explain the names of all audio files below a folder.

    Args:
        folder: Folder to search.
        pattern: Pattern of the names.
        renamed: Emotion in the file names -> label. Other emotions get their canonical name.

    Raises:
        CorpusError: If the folder holds no audio, no name matches, a name is ambiguous, a split is unknown, or a
            renamed emotion does not occur.
    """
    require_folder(folder, "searched for audio")
    files = audio_files(folder, ANY_AUDIO)
    if not files:
        raise CorpusError(f"{folder}: holds no audio files ({', '.join(ANY_AUDIO)})")
    matched = [(file, pattern.match(file.relative_to(folder).as_posix())) for file in files]
    others = tuple(file for file, fields in matched if fields is None)
    if len(others) == len(files):
        names = first_few([file.relative_to(folder).as_posix() for file in files])
        raise CorpusError(f"{folder}: no name matches the pattern {pattern.text}; the files are {names}. {_ADVICE}")
    found = sorted({fields["emotion"] for _, fields in matched if fields})
    if unused := [emotion for emotion in renamed if emotion not in found]:
        raise CorpusError(f"--map {unused[0]}: no file has this emotion; the names have {first_few(found, 20)}")
    labels = {emotion: canonical_emotion(renamed.get(emotion, emotion)) for emotion in found}
    rows = []
    for file, fields in matched:
        if fields is None:
            continue
        row = {**fields, "emotion": labels[fields["emotion"]]}
        if "split" in row:
            if row["split"].lower() not in _SPLITS:
                raise CorpusError(f"{file}: the split is {row['split']!r}; expected {', '.join(_SPLITS)}")
            row["split"] = _SPLITS[row["split"].lower()]
        rows.append((file, row))
    return Understood(tuple(rows), others, labels)
