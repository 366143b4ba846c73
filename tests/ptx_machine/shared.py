"""Shared memory of some blocks, with the order of its accesses."""

import numpy as np

from ptx_machine.counts import Counts
from ptx_machine.order import Order
from ptx_machine.report import RuleError
from ptx_machine.values import UNSIGNED, Array


class SharedMemory:
    """Bytes of shared memory by blocks. Reading and writing checks bounds, alignment and order."""

    def __init__(self, rows: int, threads: int, size: int, cell: int, counts: Counts | None = None) -> None:
        self.rows, self.threads, self.size, self.cell = rows, threads, size, cell
        padded = -(-size // 16) * 16
        self.data = np.zeros((rows, padded), np.uint8)
        self.order = Order(padded // cell, threads)
        self.counts = counts

    def load(self, address: Array, mask: Array | None, width: int, count: int) -> list[Array]:
        """Return `count` vectors of values of `width` bits from each address; anything where the mask is False."""
        size = width // 8 * count
        place = self._checked(address, mask, size)
        row, thread, chosen = self._lanes(place, mask)
        self.order.read(*self._cells(row, thread, chosen, size))
        return self.gather(place // (width // 8), width, count)

    def gather(self, index: Array, width: int, count: int) -> list[Array]:
        """Return `count` vectors of adjacent values from each index, given as blocks or 1 by any other axes."""
        data = self.data.view(UNSIGNED[width])
        if len(index) == 1:
            return [np.take(data, index[0] + i, axis=1) for i in range(count)]
        index = index + (np.arange(self.rows) * data.shape[1]).reshape(-1, *[1] * (index.ndim - 1))
        return [data.reshape(-1).take(index + i) for i in range(count)]

    def store(self, address: Array, mask: Array | None, values: list[Array], width: int, copied: bool = False) -> None:
        """Store a vector of values of `width` bits at each address; `copied` values arrive at their wait_group."""
        size = width // 8 * len(values)
        place = self._checked(address, mask, size)
        row, thread, chosen = self._lanes(place, mask)
        cells, threads = self._cells(row, thread, chosen, size)
        if copied:
            self.order.copy(cells, threads)
        else:
            self.order.write(cells, threads)
        data = self.data.view(UNSIGNED[width])
        index = chosen // (width // 8)
        where = (slice(None) if row is None else row, thread)
        for i, value in enumerate(values):
            stored = np.broadcast_to(value, (self.rows, self.threads))[where]
            into = (where[0], index + i)
            data[into] = stored
            if (lost := data[into] != stored).any():
                lane = int(lost.reshape(-1, len(thread)).any(0).argmax())
                rule = "two threads of one instruction store different values at one address"
                raise RuleError(f"shared memory: {rule}", 0 if row is None else int(row[lane]), int(thread[lane]))

    def read_rows(self, address: Array, mask: Array | None, readers: Array) -> Array:
        """Return the four words of 16-byte rows at each address, read by four threads each.

        Args:
            address: Addresses `[blocks or 1, rows]`.
            mask: Flags of the rows that are read `[blocks or 1, rows]`, or None for all.
            readers: Threads `[rows, 4]`.
        """
        place = self._checked(address, mask, 16)
        if len(place) > 1 or (mask is not None and len(mask) > 1):
            self.order.expand(self.rows)
        cells = place[:, :, None] // self.cell + np.arange(16 // self.cell)
        cells = cells + np.arange(self.order.rows)[:, None, None] * self.order.cells
        threads = np.broadcast_to(np.repeat(readers, 4 // self.cell, axis=1), cells.shape)
        read = np.broadcast_to(np.True_ if mask is None else mask[:, :, None], cells.shape)
        self.order.read(cells[read], threads[read])
        return np.stack(self.gather(place // 4, 32, 4), axis=-1)

    def _checked(self, address: Array, mask: Array | None, size: int) -> Array:
        """Return addresses as int64, with 0 where the mask is False."""
        place = address.astype(np.int64)
        if mask is not None:
            place = np.where(mask, place, 0)
        if self.counts is not None:
            self.counts.shared_request(place, mask, size)
        if int(place.max()) + size > self.size:
            bad = place + size > self.size
            row, column = divmod(int(bad.argmax()), bad.shape[1])
            rule = f"access of {size} bytes at {place[row, column]} outside of the {self.size} bytes"
            raise RuleError(f"shared memory: {rule}", row, column)
        if int(np.bitwise_or.reduce(place, axis=None)) & (size - 1):
            bad = place & (size - 1) != 0
            row, column = divmod(int(bad.argmax()), bad.shape[1])
            raise RuleError(f"shared memory: misaligned access of {size} bytes at {place[row, column]}", row, column)
        return place

    def _lanes(self, place: Array, mask: Array | None) -> tuple[Array | None, Array, Array]:
        """Return row, thread and address of every active access, flat; no row if all blocks are alike."""
        if len(place) == 1 and (mask is None or len(mask) == 1):
            place = np.broadcast_to(place[0], self.threads)
            if mask is None:
                return None, np.arange(self.threads), place
            thread = np.broadcast_to(mask[0], self.threads).nonzero()[0]
            return None, thread, place[thread]
        shape = (self.rows, self.threads)
        row, thread = np.broadcast_to(np.True_ if mask is None else mask, shape).nonzero()
        self.order.expand(self.rows)
        return row, thread, np.broadcast_to(place, shape)[row, thread]

    def _cells(self, row: Array | None, thread: Array, place: Array, size: int) -> tuple[Array, Array]:
        """Return the cells of accesses, as row * cells + cell, and the thread of each."""
        cells = place[:, None] // self.cell + np.arange(size // self.cell)
        if row is None:
            rows = np.arange(self.order.rows)[:, None, None]
            cells, threads = np.broadcast_arrays(cells + rows * self.order.cells, thread[:, None])
        else:
            cells, threads = np.broadcast_arrays(cells + row[:, None] * self.order.cells, thread[:, None])
        return cells.reshape(-1), threads.reshape(-1)
