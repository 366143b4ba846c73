"""Order of the accesses to shared memory: which thread wrote and read each cell since the last barrier.

An access is in order if every conflicting access before it came from the same thread, or a barrier lies in between: of
the block, or of the warp if both threads belong to it. A cell is as wide as the narrowest access of the kernel. One row
of cells stands for all blocks while they behave alike.
"""

import numpy as np

from ptx_machine.report import RuleError
from ptx_machine.values import Array

WARP = 32
UNWRITTEN = -1
ORDERED = -2
"""Owner of a cell that was not accessed since the last barrier of the block. Owners from 0 on are threads."""
MANY = -(1 << 20)
"""Reader of a cell that threads of several warps have read since the last barrier."""


def _synced(warp: Array) -> Array:
    """Return the owner of a cell that a warp accessed before its own last barrier."""
    return -3 - warp


def _unsynced(warp: Array) -> Array:
    """Return the reader of a cell that several threads of one warp have read."""
    return -3 - (1 << 10) - warp


class Order:
    """Last writer and readers of all cells, and asynchronous copies that are on their way."""

    def __init__(self, cells: int, threads: int) -> None:
        self.rows, self.cells, self.threads = 1, cells, threads
        self.writer = np.full((1, cells), UNWRITTEN, np.int32)
        self.reader = np.full((1, cells), ORDERED, np.int32)
        self.copier = np.full((1, cells), UNWRITTEN, np.int32)
        self.group = np.zeros((1, cells), np.int32)
        self.committed = np.zeros((1, 1), np.int32)
        self.copying = False

    def expand(self, rows: int) -> None:
        """Give every block its own row."""
        if self.rows < rows:
            self.rows = rows
            for name in ("writer", "reader", "copier", "group"):
                setattr(self, name, np.repeat(getattr(self, name), rows, axis=0))

    def read(self, cells: Array, threads: Array) -> None:
        """Note reads of cells, given by row * cells + cell, and check what was written."""
        writer = self.writer.reshape(-1)[cells]
        if self.copying and (flying := self.copier.reshape(-1)[cells] >= 0).any():
            self._refuse("read of a cp.async before its wait_group", cells, threads, flying)
        fine = (writer == ORDERED) | (writer == threads)
        if not fine.all():
            fine |= writer == _synced(threads // WARP)
            self._refuse("read of uninitialised shared memory", cells, threads, writer == UNWRITTEN)
            self._refuse("race: read of what another thread wrote, without a barrier", cells, threads, ~fine, writer)
        reader = self.reader.reshape(-1)
        before = reader[cells]
        reader[cells] = threads
        several = (reader[cells] != threads) | ((before != threads) & (before != ORDERED))
        if several.any():
            self._merge(cells[several], threads[several], before[several])

    def _merge(self, cells: Array, threads: Array, before: Array) -> None:
        """Note several readers of one cell."""
        reader, warps = self.reader.reshape(-1), threads // WARP
        now = reader[cells]
        earlier = np.where(before >= 0, _unsynced(before // WARP), before)
        same = (before == ORDERED) | (earlier == _unsynced(warps)) | (before == _synced(warps))
        same &= (now // WARP == warps) | (now == _unsynced(warps))
        reader[cells] = _unsynced(warps)
        reader[cells[~same]] = MANY

    def write(self, cells: Array, threads: Array, what: str = "write") -> None:
        """Note writes of cells, and check who accessed them."""
        self._check_write(cells, threads, what)
        self.writer.reshape(-1)[cells] = threads

    def _check_write(self, cells: Array, threads: Array, what: str) -> None:
        writer, reader = self.writer.reshape(-1)[cells], self.reader.reshape(-1)[cells]
        if self.copying and (flying := self.copier.reshape(-1)[cells] >= 0).any():
            self._refuse(f"{what} where a cp.async is on its way", cells, threads, flying)
        fine = (writer == ORDERED) | (writer == UNWRITTEN) | (writer == threads)
        if not fine.all():
            fine |= writer == _synced(threads // WARP)
            self._refuse(
                f"race: {what} after a write of another thread, without a barrier", cells, threads, ~fine, writer
            )
        fine = (reader == ORDERED) | (reader == threads)
        if not fine.all():
            fine |= reader == _synced(threads // WARP)
            self._refuse(
                f"race: {what} after a read of another thread, without a barrier", cells, threads, ~fine, reader
            )

    def copy(self, cells: Array, threads: Array) -> None:
        """Note asynchronous copies into cells, which belong to the next group that is committed."""
        self._check_write(cells, threads, "cp.async")
        self.copying = True
        self.copier.reshape(-1)[cells] = threads
        committed = np.broadcast_to(self.committed, (max(self.rows, len(self.committed)), self.threads))
        self.group.reshape(-1)[cells] = committed[cells // self.cells, threads] + 1

    def commit(self, mask: Array | None) -> None:
        """Close a group of copies."""
        self.committed = self.committed + (np.int32(1) if mask is None else mask)

    def wait(self, pending: int, mask: Array | None) -> None:
        """Finish all groups of copies but the last `pending`; -1 finishes also what is not committed."""
        if not self.copying:
            return
        limit = np.broadcast_to(self.committed - np.int32(pending), (max(self.rows, len(self.committed)), self.threads))
        if mask is not None:
            limit = np.where(mask, limit, np.int32(-1))
        self.expand(len(limit))
        row, cell = (self.copier >= 0).nonzero()
        done = self.group[row, cell] <= limit[row, self.copier[row, cell]]
        row, cell = row[done], cell[done]
        self.writer[row, cell] = self.copier[row, cell]
        self.copier[row, cell] = UNWRITTEN
        self.copying = not done.all()

    def barrier(self, rows: Array | None) -> None:
        """Order all accesses of some blocks, or of all."""
        chosen = slice(None) if rows is None or self.rows == 1 else rows
        writer = self.writer[chosen]
        self.writer[chosen] = np.where(writer == UNWRITTEN, writer, np.int32(ORDERED))
        self.reader[chosen] = ORDERED

    def warp_barrier(self, active: Array | None) -> None:
        """Order the accesses of each warp among its own threads; `active` are flags by rows and warps."""
        for owners in (self.writer, self.reader):
            warps = np.where(owners >= 0, owners // WARP, np.where(owners <= _unsynced(0), -owners - 3 - (1 << 10), -1))
            warps = np.where(owners == MANY, -1, warps)
            row, cell = (warps >= 0).nonzero()
            if active is not None:
                runs = np.broadcast_to(active, (self.rows, self.threads // WARP))[row, warps[row, cell]]
                row, cell = row[runs], cell[runs]
            owners[row, cell] = _synced(warps[row, cell])

    def _refuse(self, rule: str, cells: Array, threads: Array, bad: Array, other: Array | None = None) -> None:
        if bad.any():
            first = int(bad.argmax())
            by = f" (thread {other[first]})" if other is not None and other[first] >= 0 else ""
            raise RuleError(f"shared memory: {rule}{by}", int(cells[first]) // self.cells, int(threads[first]))
