"""A clock that replays measured times to pytest-benchmark.

pytest-benchmark times one function at a time. Here the providers of a case take turns, so `measurement.py` times them,
and pytest-benchmark reads the results from this clock.
"""


class ReplayClock:
    """A clock that advances only when `target` is called, each time by the next of `times`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.times: list[float] = []

    def __call__(self) -> float:
        """Return the time of the clock in seconds."""
        return self.now

    def target(self) -> None:
        """Let the next measured time pass."""
        self.now += self.times.pop(0) if self.times else 0.0


CLOCK = ReplayClock()
