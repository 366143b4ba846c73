"""Ctrl-C and SIGTERM while trainings run: the first lets them stop where they can go on, the second ends at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def first_signal_stops(say: Callable[[], None]) -> Iterator[threading.Event]:
    """Give an event that the first signal sets; the second does what a signal did before the block.

    Args:
        say: Called at the first signal, in a thread of its own: what the signal interrupts may be printing just now.
    """
    stop = threading.Event()
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
