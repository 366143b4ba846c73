"""Checkpoint of an unfinished run in one file, which is written atomically and read without pickle."""

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

CHECKPOINT_FORMAT = 3
"""Version of the file format. Increase it whenever the file or the state in it changes."""


class TrainingStopped(Exception):  # noqa: N818  # not an error
    """Signal that a run has stopped on request and can be continued."""


class CheckpointError(OSError):
    """A checkpoint that cannot be written. The message is one sentence with the path."""


class Resumable(Protocol):
    """An object that continues as if it had never stopped once its state is restored."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the state: tensors by name, and the rest as plain JSON without NaN."""

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """Return whether tensors can belong to a state of this object."""

    def restore(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        """Restore a state whose tensors are on the CPU."""


@dataclass(frozen=True)
class _Contents:
    tensors: dict[str, Tensor]
    rest: dict[str, Any]


class Checkpoint:
    """Checkpoint file of one run.

    A file that is damaged, foreign, or of another run, format, device type or torch version is not used. One warning is
    then logged, and the run starts from the beginning.

    Args:
        path: Path of the safetensors file. Its folder is created at the first write.
        key: Digest of all values on which the results of the run depend. A file with another key is not used.
        device: Device of the run. Another type of device draws other random numbers.
        stop: Event that stops the run at the next boundary when it is set.
        seconds: Shortest time between two writes in seconds.
    """

    def __init__(self, path: Path, key: str, device: torch.device, stop: threading.Event, seconds: float) -> None:
        self._path = path
        self._identity = {
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
        """Return whether the file holds a state that has not been restored yet."""
        return self._contents is not None

    def begin(self, training: Resumable) -> None:
        """Restore the state of the file, if there is one, and save this run from now on."""
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
        """Write the state if it is due or if the run has to stop. Call this method between two batches.

        Raises:
            TrainingStopped: If `stop` is set. The state has been written.
            CheckpointError: If the state cannot be written.
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
        text = json.dumps(self._identity | {"rest": rest}, allow_nan=False)
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
            for name, here in self._identity.items():
                if record[name] != here:
                    raise ValueError(f"its {name} is {record[name]}, expected {here}")
            return _Contents(tensors, record["rest"])
        except Exception as error:  # a foreign file can be invalid in any way
            self._warn(str(error) or type(error).__name__)
            return None

    def _warn(self, reason: str) -> None:
        log.warning("%s cannot be used (%s); the run starts from the beginning.", self._path, reason)


def _crc32(text: str, tensors: Mapping[str, Tensor]) -> int:
    crc = zlib.crc32(text.encode())
    for name in sorted(tensors):
        crc = zlib.crc32(name.encode(), crc)
        crc = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, crc)
    return crc
