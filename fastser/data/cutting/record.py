"""The record beside cut segments: which list and which recordings they come from."""

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastser.data.corpora.base import CorpusError
from fastser.runtime.files import atomic_write, storable

from .cut_list import CutList

RECORD = "cut.json"
"""Name of the record in the folder of the manifest."""

MANIFEST = "manifest.csv"
"""Name of the manifest."""

AUDIO = "audio"
"""Name of the folder of the segments, beside the manifest."""


@dataclass(frozen=True, slots=True)
class Record:
    """List of segments, state of the recordings, and the files that come from each of them in this state.

    A file that is not named may come from another recording, or from an earlier state of this one.

    Attributes:
        source: Absolute path of the list.
        states: Size in bytes and time of change in nanoseconds of each recording, by its absolute path.
        files: Names of the files of segments of each recording, cut or still to cut, by its absolute path.
    """

    source: str
    states: dict[str, list[int]]
    files: dict[str, list[str]]

    @classmethod
    def of(cls, listed: CutList, names: Sequence[str]) -> "Record":
        """Return the record of a list as its recordings are now.

        Args:
            listed: The list.
            names: Name of the file of each segment.
        """
        states: dict[str, list[int]] = {}
        files: dict[str, list[str]] = defaultdict(list)
        for segment, name in zip(listed.segments, names, strict=True):
            key = key_of(segment.audio)
            if key not in states:
                status = segment.audio.stat()
                states[key] = [status.st_size, status.st_mtime_ns]
            files[key].append(name)
        return cls(key_of(listed.path), states, files)

    def unchanged(self, before: "Record") -> set[str]:
        """Return the files that come from their recordings as they are now, if they exist."""
        return {
            name
            for key, names in self.files.items()
            if before.states.get(key) == self.states[key]
            for name in {*names}.intersection(before.files[key])
        }

    @classmethod
    def read(cls, folder: Path, source: Path) -> "Record":
        """Return the record of a folder, which is empty for a folder without one.

        Raises:
            CorpusError: If the folder holds segments of another list, or a manifest or audio that was not
                written with a record.
        """
        file = folder / RECORD
        if not file.exists():
            for own in (folder / MANIFEST, folder / AUDIO):
                if own.exists():
                    raise CorpusError(f"{own}: exists, and was not written by this command; give another OUT")
            return cls(key_of(source), {}, {})
        try:
            content: dict[str, Any] = json.loads(file.read_text("utf-8"))
            recordings = dict(content["recordings"])
            states = {key: recording["state"] for key, recording in recordings.items()}
            files = {key: [*recording["files"]] for key, recording in recordings.items()}
            record = cls(str(content["source"]), states, files)
        except (ValueError, KeyError, TypeError):
            raise CorpusError(f"{file}: is damaged; remove this folder, or give another OUT") from None
        if record.source != key_of(source):
            raise CorpusError(f"{folder}: holds segments of {record.source}; give another OUT")
        return record

    def write(self, folder: Path) -> None:
        """Write the record into a folder."""
        recordings = {key: {"state": state, "files": self.files[key]} for key, state in self.states.items()}
        with atomic_write(folder / RECORD) as part:
            part.write_text(json.dumps({"source": self.source, "recordings": recordings}, indent=1), "utf-8")


def key_of(path: Path) -> str:
    """Return the absolute path of a file as a text that can be stored."""
    return storable(os.path.abspath(path))  # noqa: PTH100 (resolve would follow links)
