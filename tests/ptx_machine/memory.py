"""Global memory: the tensors of a launch at virtual addresses, far apart so that no access reaches another tensor."""

import numpy as np
import torch

from ptx_machine.counts import Counts
from ptx_machine.report import RuleError
from ptx_machine.values import UNSIGNED, Array

SHIFT = 40
"""Bits of the address inside an allocation; the bits above are the number of the allocation."""


class GlobalMemory:
    """Storages of tensors as allocations, which the threads read and write."""

    def __init__(self, counts: Counts | None = None) -> None:
        self.allocations: list[Array] = []
        self.counts = counts
        self._places: dict[int, int] = {}

    def address(self, tensor: torch.Tensor) -> int:
        """Return the virtual address of the first element; tensors of one storage lie in one allocation."""
        storage = tensor.untyped_storage()
        start = storage.data_ptr()
        if start not in self._places or storage.nbytes() == 0:
            self._places[start] = len(self.allocations)
            whole = torch.empty(0, dtype=torch.uint8).set_(storage)  # type: ignore[call-overload]
            self.allocations.append(whole.numpy())
        return ((self._places[start] + 1) << SHIFT) + tensor.storage_offset() * tensor.element_size()

    def load(self, address: Array, mask: Array | None, width: int, count: int) -> list[Array]:
        """Return `count` vectors of values of `width` bits from each address; anything where the mask is False."""
        results: list[Array] = []
        for allocation, first, lanes in self._accesses(address, mask, width // 8 * count, width):
            loaded = [allocation.take(first + i) for i in range(count)]
            results = (
                [np.where(lanes, new, old) for new, old in zip(loaded, results, strict=True)] if results else loaded
            )
        return results or [np.zeros(address.shape, UNSIGNED[width])] * count

    def store(self, address: Array, mask: Array | None, values: list[Array], width: int) -> None:
        """Store a vector of values of `width` bits at each address where the mask is True or None."""
        for allocation, first, lanes in self._accesses(address, mask, width // 8 * len(values), width):
            for i, value in enumerate(values):
                place, stored = np.broadcast_arrays(first + i, value)
                if lanes is not None:
                    chosen = np.broadcast_to(lanes, np.broadcast_shapes(lanes.shape, place.shape))
                    place, stored = (np.broadcast_to(array, chosen.shape)[chosen] for array in (place, stored))
                allocation[place] = stored
                if (wrong := allocation[place] != stored).any():
                    lost = wrong if lanes is None else _spread(wrong, chosen)
                    raise RuleError(
                        "two threads of one instruction store different values at one address", *_first(lost)
                    )

    def _accesses(
        self, address: Array, mask: Array | None, size: int, width: int
    ) -> list[tuple[Array, Array, Array | None]]:
        """Return for every allocation that is accessed: its values, the index of the first value, and the lanes."""
        if mask is not None:
            if not mask.any():
                return []
            row, column = divmod(int(mask.argmax()), mask.shape[1])
            safe = address[min(row, address.shape[0] - 1), min(column, address.shape[1] - 1)]
            address = np.where(mask, address, safe)
        if self.counts is not None:
            self.counts.global_request(address, mask, size)
        if int(np.bitwise_or.reduce(address, axis=None)) & (size - 1):
            bad = address & np.uint64(size - 1) != 0
            self._refuse(f"misaligned access of {size} bytes", address, bad)
        low, high = int(address.min()), int(address.max())
        if low >> SHIFT == high >> SHIFT:
            return [(*self._inside(address, mask, low >> SHIFT, size, width), mask)]
        accesses = []
        for number in np.unique(address >> np.uint64(SHIFT)):
            lanes = address >> np.uint64(SHIFT) == number
            lanes = lanes if mask is None else lanes & mask
            row, column = divmod(int(lanes.argmax()), lanes.shape[1])
            safe = address[min(row, address.shape[0] - 1), min(column, address.shape[1] - 1)]
            part = np.where(lanes, address, safe)
            accesses.append((*self._inside(part, lanes, int(number), size, width), lanes))
        return accesses

    def _inside(self, address: Array, mask: Array | None, number: int, size: int, width: int) -> tuple[Array, Array]:
        if not 0 < number <= len(self.allocations):
            self._refuse("access of no tensor", address, np.ones(address.shape, bool) if mask is None else mask)
        data = self.allocations[number - 1]
        offset = (address - np.uint64(number << SHIFT)).view(np.int64)
        if int(offset.max()) + size > data.size:
            self._refuse(
                f"access {size} bytes outside of a tensor of {data.size} bytes", address, offset + size > data.size
            )
        unit = width // 8
        return data[: data.size // unit * unit].view(UNSIGNED[width]), offset // unit

    def _refuse(self, rule: str, address: Array, bad: Array) -> None:
        row, column = divmod(int(bad.argmax()), bad.shape[1])
        where = int(address[min(row, address.shape[0] - 1), min(column, address.shape[1] - 1)])
        raise RuleError(f"global memory: {rule}: address {_named(where)}", row, column)


def _named(address: int) -> str:
    """Return an address as number of the tensor and offset; a small negative offset belongs to the tensor above."""
    number, offset = address >> SHIFT, address & ((1 << SHIFT) - 1)
    if offset >> (SHIFT - 1):
        number, offset = number + 1, offset - (1 << SHIFT)
    return f"{offset:+d} bytes from the start of storage {number}"


def _spread(wrong: Array, chosen: Array) -> Array:
    """Return flags of the chosen lanes as flags of all lanes."""
    flags = np.zeros(chosen.shape, bool)
    flags[chosen] = wrong
    return flags


def _first(flags: Array) -> tuple[int, int]:
    return divmod(int(flags.argmax()), flags.shape[1])
