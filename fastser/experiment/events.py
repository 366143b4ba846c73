"""What was begun and what became of it, one line each, by all processes that share a results folder."""

import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from fastser.runtime.files import lock_file

Event = Literal["started", "continued", "finished", "failed", "stopped"]
"""What can happen to a training; one that was killed has no last line."""


def append(path: Path, event: Event, key: str) -> None:
    """Add a line at the end of the file, under a lock of the file: those of several processes never mix.

    Linux hands the lock on to an NFS server, so that this holds for several machines too.

    Args:
        path: The log; made if it is missing.
        event: What happened.
        key: To which training.

    Raises:
        OSError: If the line cannot be written.
    """
    record = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": event,
        "key": key,
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
    line = json.dumps(record).encode() + b"\n"
    with path.open("a+b", buffering=0) as stream:
        lock_file(stream, wait=True)  # without it, the last byte may be that of a line half written
        if stream.seek(0, os.SEEK_END):
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                line = b"\n" + line
        while line:  # a disk that becomes full takes a part, and raises at the rest
            line = line[stream.write(line) :]


def read(path: Path) -> list[dict[str, Any]]:
    """The lines that are whole, in the order in which they were written; none if there is no log."""
    if not path.exists():
        return []
    records = []
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and {"time", "event", "key"} <= record.keys():
            records.append(record)
    return records
