"""Program of a worker process.

Requests come on standard input, and progress and answers go to standard output, as one JSON list a line. The process
ends when its standard input is closed. The system closes it when the command ends in any way, so no worker is left.
"""

import json
import logging
import os
import sys
import threading
import traceback
import warnings
from queue import SimpleQueue
from typing import Any

from fastser.experiment.executors.failures import in_one_sentence
from fastser.experiment.executors.worker import Worker
from fastser.experiment.grid import GridPoint


def main() -> None:
    """Execute the requested runs until standard input is closed."""
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    warnings.filterwarnings("ignore", module="fastser_kernels")  # the command has said it
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # so that a model that prints does not disturb the answers

    def report(kind: str, value: Any) -> None:
        try:
            output.write(json.dumps([kind, value]) + "\n")
            output.flush()
        except BrokenPipeError:  # raised here it would count as a failure of the run
            os._exit(1)

    worker = Worker(sys.argv[1], report)
    requests: SimpleQueue[tuple[dict[str, Any], str]] = SimpleQueue()
    threading.Thread(target=_read, args=(worker, requests), daemon=True).start()
    report(*worker.open())
    while True:
        point, key = requests.get()
        try:
            answer = worker.run(GridPoint(**point), key)
        except Exception as error:
            traceback.print_exc()
            answer = "failed", in_one_sentence(error)
        report(*answer)


def _read(worker: Worker, requests: "SimpleQueue[tuple[dict[str, Any], str]]") -> None:
    """Read requests. Runs are left to the main thread, which alone reuses freed memory (`keep_freed_memory`)."""
    for line in sys.stdin:
        kind, *values = json.loads(line)
        if kind == "stop":
            worker.stop()
        else:
            requests.put((values[0], values[1]))
    os._exit(0)


if __name__ == "__main__":
    main()
