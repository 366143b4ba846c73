"""Limits of the machine, measured in the same run: the speed of a large copy, and that of arithmetic.

The limit of arithmetic is the fastest of a large matrix product, the same as a 1x1 convolution (on a CPU it comes from
another library), and multiply-adds on registers alone, where the compiled kernels are installed.
"""

from dataclasses import dataclass
from functools import cache
from statistics import median

import torch
import torch.nn.functional as F
from fastser_kernels.native.calls import INT, OUTPUT, NativeFunction
from fastser_kernels.native.library import native

from benchmarks.timing import on_cpu, on_gpu

COPY_BYTES = {"cpu": 256 * 2**20, "cuda": 4 * 2**30}
MATRIX = {"cpu": 1280, "cuda": 8192}
REGISTER_ROUNDS = 2_000_000
ROUNDS = 5


@dataclass(frozen=True)
class Limits:
    """Limits for one device and dtype.

    Attributes:
        bytes_per_second: Bytes that a large copy reads and writes per second.
        flops_per_second: FLOPs per second of the fastest arithmetic.
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
    product = 2 * size**3 / min(seconds[1:])
    return Limits(8 * n / seconds[0], max(product, _on_registers(dtype) if device_type == "cpu" else 0.0))


_peak = NativeFunction("peak", flops=OUTPUT, rounds=INT)


def _on_registers(dtype: torch.dtype) -> float:
    """Return the FLOPs per second of multiply-adds on the registers of all threads, or 0 without compiled kernels."""
    if native().library is None:
        return 0.0
    flops = torch.zeros(1, dtype=torch.float64)
    threads = torch.get_num_threads()
    run = on_cpu(lambda: _peak(dtype, flops=flops, rounds=REGISTER_ROUNDS, threads=threads))
    run()
    seconds = median(run() for _ in range(ROUNDS))
    return threads * REGISTER_ROUNDS * float(flops) / seconds
