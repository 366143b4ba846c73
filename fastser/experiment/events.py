"""Event log of a results folder: one line for every start and end of a run, by all processes that share the folder."""

import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from fastser.runtime.files import lock_file

Event = Literal["started", "continued", "finished", "failed", "stopped"]
"""Events of a run. A run that was killed has no last event."""


def append(path: Path, event: Event, key: str) -> None:
    """Append a line to the log.

    The file is locked meanwhile, so that lines of several processes never mix. Linux passes the lock on to an NFS
    server, so this holds for several machines too.

    Args:
        path: The log. It is created if it is missing.
        event: The event.
        key: Key of the run.

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
        lock_file(stream, wait=True)  # otherwise the last byte may belong to a half-written line
        if stream.seek(0, os.SEEK_END):
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                line = b"\n" + line
        while line:  # a disk that fills up takes a part and raises at the rest
            line = line[stream.write(line) :]


def read(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines in the order in which they were written, or nothing if there is no log."""
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
