"""The record beside cut segments: which list and which recordings they come from."""

import json
import os
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


@dataclass(frozen=True, slots=True)
class Record:
    """List of segments, and state of the recordings that were cut.

    Attributes:
        source: Absolute path of the list.
        recordings: Size in bytes and time of change in nanoseconds of each recording, by its absolute path.
    """

    source: str
    recordings: dict[str, list[int]]

    @classmethod
    def of(cls, listed: CutList) -> "Record":
        """Return the record of a list as its recordings are now."""
        found = {}
        for audio in dict.fromkeys(segment.audio for segment in listed.segments):
            status = audio.stat()
            found[key_of(audio)] = [status.st_size, status.st_mtime_ns]
        return cls(key_of(listed.path), found)

    @classmethod
    def read(cls, folder: Path, source: Path) -> "Record":
        """Return the record of a folder, which is empty for a folder without one.

        Raises:
            CorpusError: If the folder holds segments of another list, or a manifest that was not written with a record.
        """
        file = folder / RECORD
        if not file.exists():
            if (folder / MANIFEST).exists():
                raise CorpusError(f"{folder / MANIFEST}: exists, and was not written by this command; give another OUT")
            return cls(key_of(source), {})
        try:
            content: dict[str, Any] = json.loads(file.read_text("utf-8"))
            record = cls(str(content["source"]), dict(content["recordings"]))
        except (ValueError, KeyError, TypeError):
            raise CorpusError(f"{file}: is damaged; remove this folder, or give another OUT") from None
        if record.source != key_of(source):
            raise CorpusError(f"{folder}: holds segments of {record.source}; give another OUT")
        return record

    def write(self, folder: Path) -> None:
        """Write the record into a folder."""
        with atomic_write(folder / RECORD) as part:
            part.write_text(json.dumps({"source": self.source, "recordings": self.recordings}, indent=1), "utf-8")


def key_of(path: Path) -> str:
    """Return the absolute path of a file as a text that can be stored."""
    return storable(os.path.abspath(path))  # noqa: PTH100 (resolve would follow links)
