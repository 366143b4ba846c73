"""Workers of the pool as processes of this machine."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from fastser.experiment.executors.pool import Message
from fastser.experiment.grid import RunId
from fastser.runtime.openmp import variables_of_workers

PROGRAM = (sys.executable, "-P", "-m", "fastser.experiment.executors.process_worker")
"""Command of a worker. It takes the path of a file from `WorkerConfig.write`."""


class ProcessWorker:
    """A worker process, seen from the command.

    Args:
        command: Program and arguments.
        environment: Environment variables of the process.
        inbox: Queue that gets the messages of the worker.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str], inbox: "SimpleQueue[Message]") -> None:
        with _signals_held_back():
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
            )
        threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()

    def begin(self, run_id: RunId) -> None:
        """Give a run to the worker."""
        self._send("run", asdict(run_id.point), run_id.key)

    def stop(self) -> None:
        """Ask the running run to stop where it can be continued."""
        self._send("stop")

    def kill(self) -> None:
        """End the worker at once, if it still lives."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def _send(self, *request: Any) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # the message "died" says it
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def _listen(self, inbox: "SimpleQueue[Message]") -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):  # otherwise the worker was killed while it wrote
                    inbox.put(Message(self, *json.loads(line)))
        inbox.put(Message(self, "died", _reason(self._process.wait())))


class ProcessWorkers:
    """Worker processes of one grid. The end of the `with` block ends all of them.

    Args:
        config: Path of a file from `WorkerConfig.write`.
        threads: Threads of one run.
        number: Number of processes at a time. Each one that the system kills lowers it, because memory may be short.
        program: Command that takes the path.
    """

    stop_seconds = math.inf  # a worker of this machine either answers or dies

    def __init__(self, config: Path, threads: int, number: int, program: Sequence[str] = PROGRAM) -> None:
        self._command = [*program, str(config)]
        modules = {"PYTHONPATH": os.pathsep.join(str(path) or str(Path.cwd()) for path in sys.path)}
        self._environment = dict(os.environ) | variables_of_workers(threads, os.environ) | modules
        self._number = number
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        self._started: list[ProcessWorker] = []

    def __enter__(self) -> "ProcessWorkers":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._started:
            worker.kill()

    def room(self) -> int:
        """Return the number of processes that may exist now."""
        return self._number

    def start(self) -> ProcessWorker:
        """Start a process."""
        self._started.append(ProcessWorker(self._command, self._environment, self._inbox))
        return self._started[-1]

    def messages(self, seconds: float) -> list[Message]:
        """Wait for a message of any worker, and return all that have arrived."""
        found: list[Message] = []
        with suppress(Empty):
            found.append(self._inbox.get(timeout=seconds))
            while True:
                found.append(self._inbox.get_nowait())
        killed = sum(message.kind == "died" and message.value == _KILLED for message in found)
        self._number = max(self._number - killed, 1)
        return found


_KILLED = (
    "the system killed the process (SIGKILL), as it does when memory is full; --jobs with a smaller number needs less"
)


def _reason(status: int) -> str:
    """Return why a process with this exit status has ended."""
    if status >= 0:
        return f"exit status {status}"
    return _KILLED if -status == signal.SIGKILL else f"signal {-status} ({signal.strsignal(-status)})"


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Start processes that Ctrl-C and SIGTERM do not reach: a terminal or a scheduler sends these to all of them.

    The command takes the signal and tells its workers to stop.
    """
    if sys.platform == "win32":  # which has no signal masks
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
