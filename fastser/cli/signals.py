"""Ctrl-C and SIGTERM: the first lets runs stop where they can be continued, the second ends the process."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def first_signal_stops(say: Callable[[], None]) -> Iterator[threading.Event]:
    """Yield an event that the first signal sets. The second signal has its effect from before the block.

    Args:
        say: Called at the first signal, in a thread of its own, because the interrupted code may be printing.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread can handle signals
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def first(_number: int, _frame: Any) -> None:
        restore()
        stop.set()
        threading.Thread(target=say, daemon=True).start()

    for number in _SIGNALS:
        signal.signal(number, first)
    try:
        yield stop
    finally:
        restore()
