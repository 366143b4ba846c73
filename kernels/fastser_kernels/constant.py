"""Functions whose result torch.compile takes as a constant."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def constant_when_compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function as `torch.compiler.assume_constant_result` does.

    PyTorch's own decorator loads the compiler, which takes a second, also in a process that compiles nothing.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
