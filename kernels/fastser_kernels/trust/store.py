"""Verdicts in the cache folder: one JSON file for each combination of chip, driver and software.

A kernel that crashes ends its process. The name of the tested kernel is therefore written to a second file
before the test, and removed after it. A name that a later process finds there belongs to a test that never ended.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fastser_kernels.trust.verdict import Verdict

LONGEST_WAIT_S = 60.0
"""Longest time for which a process waits for the self-test of another one."""

_POLL_S = 0.05


def default_folder() -> Path | None:
    """Return the folder of the verdicts in `$FASTSER_CACHE` or the user's cache folder, or None without a home."""
    named = os.environ.get("FASTSER_CACHE")
    try:
        if named:
            return Path(named).expanduser() / "kernels"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastser" / "kernels"
    except RuntimeError:
        return None


class VerdictStore:
    """Verdicts of one combination, in memory and in its file.

    A file that is damaged or belongs to another combination counts as empty. A folder that cannot be written costs
    only the memory of later processes.

    Args:
        folder: Folder of the files, created at the first write, or None for no files.
        combination: Text that identifies chip, driver and software.
    """

    def __init__(self, folder: Path | None, combination: str) -> None:
        self.combination = combination
        name = hashlib.sha256(combination.encode()).hexdigest()[:16]
        self._file = None if folder is None else folder / f"{name}.json"
        self.marker = None if folder is None else folder / f"{name}.testing"
        self._verdicts: dict[str, Verdict] = {}
        self.reload()
        if _has_content(self.marker):  # of a test that has crashed, or that another process is running now
            with self.testing(wait_s=0.0):
                pass

    def reload(self) -> None:
        """Add the verdicts that other processes have written."""
        self._verdicts = self._read() | self._verdicts

    def get(self, family: str, dtype: str, size: str) -> Verdict | None:
        """Return the verdict for a size, or one about a wrong kernel, which holds for every size."""
        return self.wrong(family, dtype) or self._verdicts.get(Verdict(family, dtype, size).key)

    def wrong(self, family: str, dtype: str) -> Verdict | None:
        """Return a verdict about a wrong kernel, or None."""
        found = (v for v in self._verdicts.values() if (v.family, v.dtype) == (family, dtype) and v.fault)
        return next(found, None)

    def add(self, verdict: Verdict) -> None:
        """Keep a verdict."""
        self._verdicts[verdict.key] = verdict
        self.reload()
        if self._file is None:
            return
        content = {"combination": self.combination, "verdicts": [v.to_json() for v in self._verdicts.values()]}
        part = self._file.with_name(f".{self._file.name}.{os.getpid()}.part")
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(content, indent=1), encoding="utf-8")
            part.replace(self._file)
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    @contextmanager
    def testing(self, wait_s: float = LONGEST_WAIT_S) -> Iterator["Marker"]:
        """Hold the lock of the self-tests of this combination during the block, so that one process tests at a time.

        At the start, a kernel whose test ended its process becomes a wrong one.

        Args:
            wait_s: Longest time to wait for another process. After it the block runs without the lock.
        """
        stream = _locked(self.marker, wait_s)
        if stream is None:
            yield Marker(None)
            return
        with stream:
            crashed = stream.read().split()
            if len(crashed) == 2:
                advice = f"or was killed during it; to test it again, delete {self._file}"
                family, dtype = crashed
                self.add(Verdict(family, dtype, "", f"a process crashed in its self-test, {advice}"))
            marker = Marker(stream)
            try:
                self.reload()
                yield marker
            finally:
                marker.write("")

    def _read(self) -> dict[str, Verdict]:
        if self._file is None:
            return {}
        try:
            content = json.loads(self._file.read_bytes())
            if content["combination"] != self.combination:
                return {}
            verdicts = [Verdict.from_json(record) for record in content["verdicts"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}
        return {verdict.key: verdict for verdict in verdicts}


class Marker:
    """Name of the kernel that is being tested, in a file. Without a file nothing is written."""

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream

    def write(self, name: str) -> None:
        """Replace the content, so that it survives the end of the process."""
        if self._stream is not None:
            with suppress(OSError):
                self._stream.seek(0)
                self._stream.truncate()
                self._stream.write(name)
                self._stream.flush()


def _has_content(path: Path | None) -> bool:
    try:
        return path is not None and path.stat().st_size > 0
    except OSError:
        return False


def _locked(path: Path | None, wait_s: float) -> IO[str] | None:
    """Open a file with a lock that ends with the process. Return None where there are no locks, or not in time."""
    if path is None or sys.platform == "win32":
        return None
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+")
    except OSError:
        return None
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(_POLL_S)
                continue
        except OSError:
            pass
        else:
            stream.seek(0)
            return stream
        stream.close()
        return None
