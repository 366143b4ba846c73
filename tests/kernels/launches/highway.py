"""The highway network of the Proposed model on a batch of 64 segments."""

from collections.abc import Callable, Iterator

import torch
from fastser_kernels.highway import kernels
from torch import Tensor


def launches() -> Iterator[tuple[str, Callable[[], object]]]:
    """Forward and backward; half types with parameters of their own dtype and of float32."""
    for dtype, parameter_dtype in (
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.bfloat16),
        (torch.bfloat16, torch.float32),
    ):
        x = torch.empty(64, 128, dtype=dtype, device="meta")
        weight, bias = (torch.empty(shape, dtype=parameter_dtype, device="meta") for shape in ((128, 128), (128,)))

        def step(x: Tensor = x, weight: Tensor = weight, bias: Tensor = bias) -> None:
            kernels.forward(x, [weight], [bias], [weight], [bias])
            kernels.backward(x, [x], [x], [x], [weight], [weight], False)

        yield f"{dtype}, parameters {parameter_dtype}", step
