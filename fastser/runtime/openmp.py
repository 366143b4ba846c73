"""Waiting of OpenMP's threads, which torch runs its CPU operations on.

Between two parallel regions a thread spins, so that the next region begins at once. GNU OpenMP spins for about a
millisecond. On a busy machine a spinning thread takes the core from the thread that everybody waits for.
docs/performance.md gives the cost.
"""

import os
import sys
from collections.abc import Mapping

_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables of GNU's and LLVM's OpenMP that say how long a thread spins."""

_SPIN_COUNT = 3_000
"""Rounds that a thread spins, about ten microseconds: longer than the code between two operations."""


def waiting_of_commands(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which fastser's commands bound the spinning: those of the user, or our own."""
    own = {name: environment[name] for name in _VARIABLES if name in environment}
    return own or {"GOMP_SPINCOUNT": str(_SPIN_COUNT)}


def variables_of_workers(threads: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that give a worker process its number of threads and bound their spinning."""
    number = str(threads)
    return {"OMP_NUM_THREADS": number, "MKL_NUM_THREADS": number} | waiting_of_commands(environment)


def bound_spinning() -> None:
    """Bound the spinning of this process, unless the user has set how long threads spin.

    Only commands call this function, before anything imports torch: OpenMP reads its environment when it is loaded.
    After that the function changes nothing.
    """
    if "torch" not in sys.modules:
        os.environ |= waiting_of_commands(os.environ)
