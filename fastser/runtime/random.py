"""Seeding of torch's global random generators for the duration of a block."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global random generators, and restore their states when the block ends or raises.

    The generator of the CPU is seeded and, for a CUDA device, the generator of this device. The generators of other
    devices keep their states. The generators belong to the process, so other threads must not draw from them meanwhile.

    Args:
        seed: Any integer that `torch.manual_seed` takes. The block draws the same numbers as after `torch.manual_seed`.
        device: Device on which the block computes. "cuda" without an index means the current CUDA device.

    Example:
        >>> import torch
        >>> with seeded(0, torch.device("cpu")):
        ...     weights = torch.randn(2)
        >>> with seeded(0, torch.device("cpu")):
        ...     torch.equal(weights, torch.randn(2))
        True
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()  # fills torch.cuda.default_generators
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
