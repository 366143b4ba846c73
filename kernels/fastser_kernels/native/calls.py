"""Calls of compiled functions with named arguments, checked against the declaration."""

import ctypes
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from fastser_kernels.native.library import native


class Kind(Enum):
    """Kinds of arguments, with their types in C++. Inputs are read only; outputs may be read too."""

    INPUT = "const void*"
    INPUTS = "const void* const*"
    OUTPUT = "void*"
    OUTPUTS = "void* const*"
    INT = "int64_t"
    FLOAT = "double"
    FLAG = "bool"


INPUT, INPUTS, OUTPUT, OUTPUTS, INT, FLOAT, FLAG = Kind

DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
"""Numbers of the dtypes, as in `src/calls.h`."""

GRAIN = 2**14
"""Values below which a thread costs more than it saves."""

_C_TYPES = {
    Kind.INPUT: ctypes.c_void_p,
    Kind.INPUTS: ctypes.POINTER(ctypes.c_void_p),
    Kind.OUTPUT: ctypes.c_void_p,
    Kind.OUTPUTS: ctypes.POINTER(ctypes.c_void_p),
    Kind.INT: ctypes.c_int64,
    Kind.FLOAT: ctypes.c_double,
    Kind.FLAG: ctypes.c_bool,
}
_STATUS = {1: "out of memory", 2: "unknown dtype"}


class NativeFunction:
    """A function `fastser_NAME(int dtype, ARGUMENTS..., int threads)` of the compiled library.

    Args:
        name: Name without the prefix `fastser_`.
        **arguments: Kind of each argument, in the order of the C++ declaration.

    Example:
        >>> step = NativeFunction("linf_step", adv=OUTPUT, clean=INPUT, grad=INPUT, values=INT, alpha=FLOAT,
        ...                       eps=FLOAT, low=FLOAT, high=FLOAT)
        >>> list(step.arguments)[:2]
        ['adv', 'clean']
    """

    declared: dict[str, "NativeFunction"] = {}  # noqa: RUF012  (one table of all functions, for the test of the C++ side)

    def __init__(self, name: str, **arguments: Kind) -> None:
        self.name = name
        self.arguments = arguments
        self._conversions = [(name, _CONVERT.get(kind)) for name, kind in arguments.items()]
        self._function: Any = None
        self.declared[name] = self

    def __call__(self, dtype: torch.dtype, /, *, threads: int, **values: Any) -> None:
        """Call the function.

        Args:
            dtype: Dtype of the maps.
            threads: Number of threads of its parallel region.
            **values: Every argument by its name. A tensor may be None. Tensors must have the layout that the C++ side
                expects, because it sees their memory only.

        Raises:
            TypeError: If an argument is missing or unknown.
            MemoryError: If there is no memory for the function's own buffers.
        """
        if values.keys() != self.arguments.keys():
            wrong = sorted(values.keys() ^ self.arguments.keys())
            raise TypeError(f"{self.name}: missing or unknown arguments: {', '.join(wrong)}")
        function = self._function or self._bind()
        converted = [convert(values[name]) if convert else values[name] for name, convert in self._conversions]
        status = function(DTYPES[dtype], *converted, threads)
        if status == 1:
            raise MemoryError(f"{self.name} needs more memory for its buffers than there is")
        if status:
            raise RuntimeError(f"{self.name}: {_STATUS.get(status, status)}")

    def _bind(self) -> Any:
        state = native()
        if state.library is None:
            raise RuntimeError(f"there are no compiled kernels: {state.reason}")
        function = getattr(state.library, f"fastser_{self.name}")
        function.argtypes = [ctypes.c_int, *(_C_TYPES[kind] for kind in self.arguments.values()), ctypes.c_int]
        self._function = function
        return function


def _read(tensor: Tensor | None) -> int | None:
    """Return the address of the first value. In contrast to data_ptr() it leaves copy-on-write memory shared."""
    if tensor is None:
        return None
    storage: int = torch._C._data_address(tensor)  # type: ignore[attr-defined]
    return storage + int(tensor.storage_offset()) * tensor.itemsize


def _written(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _array(addresses: Sequence[int | None]) -> Any:
    return (ctypes.c_void_p * len(addresses))(*addresses)


_CONVERT: dict[Kind, Callable[[Any], Any]] = {
    Kind.INPUT: _read,
    Kind.INPUTS: lambda tensors: _array([_read(tensor) for tensor in tensors]),
    Kind.OUTPUT: _written,
    Kind.OUTPUTS: lambda tensors: _array([_written(tensor) for tensor in tensors]),
}
"""Conversions of tensors to addresses. ctypes converts numbers itself."""


def threads_for(values: int, grain: int = GRAIN) -> int:
    """Return the number of threads for this many values: torch's, or fewer where the work is too small to share."""
    return max(1, min(torch.get_num_threads(), values // grain))
