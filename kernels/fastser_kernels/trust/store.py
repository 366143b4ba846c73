"""Verdicts in the cache folder: one JSON file for each combination of chip, driver and software.

A kernel that crashes ends its process. The name of the tested kernel is therefore written to a second file before the
test, and removed after it. A name that a later process finds there belongs to a test that never ended. The cause can
also be a time limit or full memory, so the later process tests the kernel once more. After the second unfinished test
the kernel is not used.
"""

import hashlib
import json
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from fastser_kernels.fallback_warning import FallbackWarning
from fastser_kernels.trust.verdict import Verdict

MOST_UNFINISHED = 2
"""Unfinished tests of a kernel after which it is not used."""

PAUSE_S = 2.0
"""Time before a test that follows an unfinished one.

A scheduler or a user kills the processes of a job one after another. Another process of the same job, which is about to
be killed too, does not begin the next test during this time.
"""

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
        if _has_content(self.marker):  # of unfinished tests, or of one that another process is running now
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

        At the start, a kernel with too many unfinished tests becomes a wrong one.

        Args:
            wait_s: Longest time to wait for another process. After it the block runs without the lock.
        """
        file = _locked(self.marker, wait_s)
        if file is None:
            yield Marker(None)
            return
        with file:
            marker = Marker(file)
            for name in marker.given_up():
                family, dtype = name.split()
                cause = "two of its self-tests did not end (a crash, a time limit or full memory)"
                self.add(Verdict(family, dtype, "", f"{cause}; to test it again, delete {self._file}"))
                marker.forget(name)
            self.reload()
            yield marker

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
    """Names of the kernels whose tests did not end, in a locked file with one line for each test.

    Its process holds the lock, so the first lines are those of processes that have ended.

    Args:
        file: The file, or None to keep the names in memory only.
    """

    def __init__(self, file: FileIO | None) -> None:
        self._file = file
        lines = file.read().decode(errors="replace").splitlines() if file is not None else []
        self._unfinished = [line for line in lines if len(line.split()) == 2]

    def given_up(self) -> list[str]:
        """Return the names of the kernels that are not tested again."""
        return [name for name, count in Counter(self._unfinished).items() if count >= MOST_UNFINISHED]

    def forget(self, name: str) -> None:
        """Remove all lines of a kernel."""
        self._unfinished = [other for other in self._unfinished if other != name]
        self._rewrite()

    @contextmanager
    def test_of(self, family: str, dtype: str) -> Iterator[None]:
        """Mark the test of a kernel as unfinished until the block ends.

        The end of the block removes the lines of earlier tests of this kernel too. An exception keeps them.
        """
        name = f"{family} {dtype}"
        if name in self._unfinished:
            warnings.warn(
                f"a process ended during the self-test of the kernel of {family} in {dtype}, which is repeated now. If "
                "this process ends too, start it again: plain PyTorch then computes instead",
                FallbackWarning,
                stacklevel=3,
            )
            time.sleep(PAUSE_S)
        try:
            self._append(name)  # without a rewrite, in which a kill would lose the earlier lines
            yield
        except BaseException:
            self._rewrite()
            raise
        self.forget(name)

    def _rewrite(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.truncate(0)
                self._file.write("".join(f"{name}\n" for name in self._unfinished).encode())

    def _append(self, name: str) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.write(f"{name}\n".encode())


def _has_content(path: Path | None) -> bool:
    try:
        return path is not None and path.stat().st_size > 0
    except OSError:
        return False


def _locked(path: Path | None, wait_s: float) -> FileIO | None:
    """Open a file with a lock that ends with the process. Return None where there are no locks, or not in time."""
    if path is None or sys.platform == "win32":
        return None
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b", buffering=0)
    except OSError:
        return None
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(_POLL_S)
                continue
        except OSError:
            pass
        else:
            file.seek(0)
            return file
        file.close()
        return None
