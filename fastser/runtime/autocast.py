"""torch.autocast for operations that it does not know."""

import torch
from torch import Tensor


def in_autocast_dtype(x: Tensor) -> Tensor:
    """Return `x` in the dtype of the surrounding torch.autocast.

    float64 keeps its dtype, as it does in all operations that torch.autocast knows. Tensors on the meta device have no
    torch.autocast.

    Raises:
        TypeError: If `x` is not a tensor, but for example an array of NumPy.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a torch.Tensor, got {type(x).__name__}")
    if x.device.type == "meta":
        return x
    if not torch.is_autocast_enabled(x.device.type) or x.dtype == torch.float64:
        return x
    return x.to(torch.get_autocast_dtype(x.device.type))
