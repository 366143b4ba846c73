"""Limits of the machine, measured in the same run: the speed of a large copy and of a large matrix product.

PyTorch offers a matrix product as `@` and as a 1x1 convolution. On a CPU the two come from different libraries, so the
faster one is the limit.
"""

from dataclasses import dataclass
from functools import cache
from statistics import median

import torch
import torch.nn.functional as F

from benchmarks.timing import on_cpu, on_gpu

COPY_BYTES = {"cpu": 256 * 2**20, "cuda": 4 * 2**30}
MATRIX = {"cpu": 1280, "cuda": 8192}
ROUNDS = 5


@dataclass(frozen=True)
class Limits:
    """Limits for one device and dtype.

    Attributes:
        bytes_per_second: Bytes that a large copy reads and writes per second.
        flops_per_second: FLOPs per second of a large matrix product.
    """

    bytes_per_second: float
    flops_per_second: float


@cache
def limits(device_type: str, dtype: torch.dtype) -> Limits:
    """Measure the limits, once per process."""
    device = torch.device(device_type)
    n = COPY_BYTES[device_type] // 4
    source, target = torch.ones(n, device=device), torch.empty(n, device=device)
    size = MATRIX[device_type]
    a, b = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    maps, kernel = (
        t.view(-1, size, 1, s).contiguous(memory_format=torch.channels_last) for t, s in ((a.view(1, -1), size), (b, 1))
    )
    seconds = []
    for call in (lambda: target.copy_(source), lambda: a @ b, lambda: F.conv2d(maps, kernel)):
        run = on_cpu(call) if device_type == "cpu" else on_gpu(lambda call=call: call, tuple)
        run()
        seconds.append(median(run() for _ in range(ROUNDS)))
    return Limits(8 * n / seconds[0], 2 * size**3 / min(seconds[1:]))
