"""The state of an unfinished training in one file: written whole, read without pickle, or not read at all."""

import json
import logging
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from fastser.runtime.files import atomic_write

log = logging.getLogger(__name__)

CHECKPOINT_FORMAT = 1
"""Raised whenever a state is kept in another way."""


class TrainingStopped(Exception):  # noqa: N818  # nothing went wrong
    """A training has left off where it was asked to, and can be continued."""


class CheckpointError(OSError):
    """A checkpoint that cannot be written: one sentence that names the file."""


class Resumable(Protocol):
    """Something that goes on as if it had never stopped, once it has its state back."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that it needs: tensors by name, and the rest as plain JSON without NaN."""

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether these can be tensors of its state."""

    def restore(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        """Take a state over; the tensors lie on the CPU."""


@dataclass(frozen=True)
class _Contents:
    tensors: dict[str, Tensor]
    rest: dict[str, Any]


class Checkpoint:
    """The file of one training, and when it is written.

    A file that is torn, foreign, of another training, format, device type or torch version is not used; one warning is
    logged, and the training starts anew.

    Args:
        path: A safetensors file; its folder is made when it is first written.
        key: Digest of all that the training's results depend on; only a file of this key is used.
        device: Where the training runs; another device type draws other random numbers.
        stop: Set from outside, it ends the training at the next boundary.
        seconds: Least time between two writes.
    """

    def __init__(self, path: Path, key: str, device: torch.device, stop: threading.Event, seconds: float) -> None:
        self._path = path
        self._belongs = {
            "format": CHECKPOINT_FORMAT,
            "key": key,
            "device": device.type,
            "torch": torch.__version__,
        }
        self._stop = stop
        self._seconds = seconds
        self._due = time.monotonic() + seconds
        self._training: Resumable | None = None
        self._written: dict[str, Any] | None = None
        self._contents = self._read()

    @property
    def found(self) -> bool:
        """Whether there is a state to go on from."""
        return self._contents is not None

    def begin(self, training: Resumable) -> None:
        """Watch over a training from here on, and give it the state that was kept, if there is one."""
        self._training = training
        if self._contents is None:
            return
        if training.fits(self._contents.tensors):
            training.restore(self._contents.tensors, self._contents.rest)
            self._written = self._contents.rest
        else:
            self._warn("it holds another model")
        self._contents = None

    def at_boundary(self) -> None:
        """Call it between two batches: writes the state if it is time to, or if the training has to stop.

        Raises:
            TrainingStopped: If `stop` is set; the state is written.
            CheckpointError: If it cannot be written.
        """
        if self._stop.is_set():
            self._write()
            raise TrainingStopped
        if time.monotonic() >= self._due:
            self._write()
            self._due = time.monotonic() + self._seconds

    def _write(self) -> None:
        if self._training is None:
            return
        tensors, rest = self._training.state()
        if rest == self._written:
            return
        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        text = json.dumps(self._belongs | {"rest": rest}, allow_nan=False)
        try:
            self._path.parent.mkdir(exist_ok=True)
            with atomic_write(self._path) as part:
                part.write_bytes(save(tensors, {"fastser": text, "crc32": str(_crc32(text, tensors))}))
        except OSError as error:
            raise CheckpointError(f"{self._path} cannot be written: {error.strerror}") from error
        self._written = rest

    def _read(self) -> _Contents | None:
        if not self._path.exists():
            return None
        try:
            with safe_open(self._path, "pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  # no mapping
            text = metadata["fastser"]
            if metadata["crc32"] != str(_crc32(text, tensors)):
                raise ValueError("its checksum is wrong")
            record = json.loads(text)
            for name, here in self._belongs.items():
                if record[name] != here:
                    raise ValueError(f"its {name} is {record[name]}, here it is {here}")
            return _Contents(tensors, record["rest"])
        except Exception as error:  # a foreign file can be wrong in any way
            self._warn(str(error) or type(error).__name__)
            return None

    def _warn(self, reason: str) -> None:
        log.warning("%s cannot be used (%s); the training starts anew.", self._path, reason)


def _crc32(text: str, tensors: Mapping[str, Tensor]) -> int:
    crc = zlib.crc32(text.encode())
    for name in sorted(tensors):
        crc = zlib.crc32(name.encode(), crc)
        crc = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, crc)
    return crc
