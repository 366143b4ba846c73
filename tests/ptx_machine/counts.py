"""Counts of what a kernel asks of the hardware."""

from collections import Counter

import numpy as np

from ptx_machine.values import Array

WARP = 32
SECTOR = 32
"""Bytes of a sector, the unit of global accesses."""
ROW = 128
"""Bytes that the 32 banks of shared memory deliver at once."""

_NOWHERE = np.int64(2**62)


class Counts:
    """Instructions of warps, sectors of global requests, and wavefronts of shared requests of a whole grid."""

    def __init__(self) -> None:
        self.instructions: Counter[str] = Counter()
        self.global_bytes = self.global_requests = self.sectors = 0
        self.shared_requests = self.wavefronts = self.bank_conflicts = 0
        self.shape = (1, WARP)

    def start(self, rows: int, threads: int) -> None:
        """Note the number of blocks and threads of the following requests."""
        self.shape = (rows, threads)

    def global_request(self, address: Array, mask: Array | None, size: int) -> None:
        """Count one access of `size` bytes, each inside one sector, by the threads of the mask."""
        active = self._groups(np.True_ if mask is None else mask, WARP)
        sectors = np.sort(np.where(active, self._groups(address, WARP) // SECTOR, _NOWHERE), axis=1)
        self.sectors += int(_distinct(sectors).sum())
        self.global_bytes += int(active.sum()) * size
        self.global_requests += int(active.any(1).sum())

    def shared_request(self, address: Array, mask: Array | None, size: int) -> None:
        """Count one access to shared memory.

        The threads of a warp that together access 128 bytes need one wavefront, and one more for every further word of
        the same bank.
        """
        lanes = min(WARP, ROW // size)
        active = self._groups(np.True_ if mask is None else mask, lanes)
        words = max(size // 4, 1)
        word = self._groups(address, lanes)[:, :, None] // 4 + np.arange(words)
        word = np.sort(np.where(active[:, :, None], word, _NOWHERE).reshape(len(active), -1), axis=1)
        group, place = _distinct(word).nonzero()
        banks = np.zeros((len(active), ROW // 4), np.int64)
        np.add.at(banks, (group, word[group, place] % (ROW // 4)), 1)
        needed = banks.max(1)
        self.shared_requests += int(active.any(1).sum())
        self.wavefronts += int(needed.sum())
        self.bank_conflicts += int(np.maximum(needed - 1, 0).sum())

    def _groups(self, values: Array, lanes: int) -> Array:
        whole = np.broadcast_to(values, self.shape).reshape(-1, lanes)
        return whole if whole.dtype == np.bool_ else whole.astype(np.int64)


def _distinct(ascending: Array) -> Array:
    """Return flags of the first one of every value in each row, without the marks of inactive lanes."""
    first = np.ones(ascending.shape, bool)
    first[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    return first & (ascending != _NOWHERE)
