"""Times that were measured elsewhere, handed to pytest-benchmark."""


class Replay:
    """A clock that stands still while a target runs and then moves by the next of some measured times."""

    def __init__(self) -> None:
        self.now = 0.0
        self.times: list[float] = []

    def __call__(self) -> float:
        return self.now

    def target(self) -> None:
        """Let one measured time pass."""
        self.now += self.times.pop(0) if self.times else 0.0


CLOCK = Replay()
