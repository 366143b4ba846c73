"""State of a model as bytes: weights, buffers, plain attributes and closures, so that kept results fit the model."""

import hashlib
import weakref
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.memory_format)
_NAMED = (type, ModuleType, BuiltinFunctionType)
_OF_EVERY_MODULE = vars(nn.Module()).keys()


class UnknownStateError(TypeError):
    """A value whose state cannot be read. The message names its type."""


def state_digest(model: nn.Module) -> str:
    """Return a digest of everything in a model that its output may depend on, apart from its code.

    Raises:
        UnknownStateError: If an attribute is an object of another language, whose state Python does not show.
    """
    digest = hashlib.sha256()
    for name, module in model.named_modules():
        digest.update(f"{name} {type(module).__qualname__}".encode())
        for parts in (module._parameters, module._buffers):
            _add(digest, parts, set())
        _add(digest, {key: value for key, value in vars(module).items() if key not in _OF_EVERY_MODULE}, set())
    return digest.hexdigest()


def _add(digest: Any, value: Any, above: set[int]) -> None:
    """Add a value and all that it holds. `above` has the ids of the objects that hold it, for cycles."""
    digest.update(type(value).__qualname__.encode())
    if isinstance(value, _PLAIN):
        digest.update(repr(value).encode())
    elif isinstance(value, _NAMED):
        digest.update(f"{getattr(value, '__module__', '')}.{value.__name__}".encode())
    elif isinstance(value, Tensor):
        digest.update(f"{value.dtype} {list(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray | np.generic):
        if value.dtype.hasobject:
            raise UnknownStateError(f"an array of {value.dtype}")
        digest.update(f"{value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, weakref.ReferenceType | nn.Module) or id(value) in above:
        return  # a module is added by its own name
    else:
        _add_parts(digest, value, above | {id(value)})


def _add_parts(digest: Any, value: Any, above: set[int]) -> None:
    if isinstance(value, Mapping):
        for key, part in value.items():
            _add(digest, key, above)
            _add(digest, part, above)
    elif isinstance(value, list | tuple):
        for part in value:
            _add(digest, part, above)
    elif isinstance(value, set | frozenset):
        _add(digest, sorted(map(repr, value)), above)
    elif isinstance(value, FunctionType):
        digest.update(f"{value.__module__}.{value.__qualname__}".encode())
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        _add(digest, [cells, value.__defaults__, value.__kwdefaults__], above)
    elif hasattr(value, "__dict__"):
        _add(digest, vars(value), above)
    else:
        raise UnknownStateError(type(value).__name__)
