"""torch.autocast for operations that it does not know."""

import torch
from torch import Tensor


def in_autocast_dtype(x: Tensor) -> Tensor:
    """Return `x` in the dtype of the surrounding torch.autocast.

    float64 keeps its dtype, as it does in all operations that torch.autocast knows.
    """
    if not torch.is_autocast_enabled(x.device.type) or x.dtype == torch.float64:
        return x
    return x.to(torch.get_autocast_dtype(x.device.type))
