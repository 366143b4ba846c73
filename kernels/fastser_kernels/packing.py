"""Lists of tensors as the flat arguments of an autograd.Function."""

from collections.abc import Sequence

from torch import Tensor


def unpacked(tensors: Sequence[Tensor], number: int) -> list[list[Tensor]]:
    """Return the `number` equally long lists that were passed one after another as `tensors`."""
    layers = len(tensors) // number
    return [list(tensors[i * layers : (i + 1) * layers]) for i in range(number)]
