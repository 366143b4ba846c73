"""Work of the launches of fastser's Triton kernels.

The grid and the arguments of a launch tell the sizes. The ahead-of-time tests tell the instructions and the products of
one iteration. Here stands what is left: the bytes, and the iterations of the longest loop.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastser_kernels.launch import Launch
from torch import Tensor

from benchmarks.predicted.chips import Products
from benchmarks.predicted.instructions import code_of, specialisation
from benchmarks.predicted.work import Work

Arguments = dict[str, Any]
Grid = tuple[int, ...]


@dataclass(frozen=True)
class Counts:
    """Counts of one launch.

    Attributes:
        iterations: Iterations of the longest loop in one program.
        dram: Bytes from and to memory. None stands for every tensor argument once.
        again: Bytes that the L2 cache serves beside those from memory.
        follows_chip: Whether the launcher takes as many programs as the chip runs at a time.
        tf32_products: Products of tf32 for each product of float32 tiles in the source: 1 where the kernel splits its
            operands itself, so that the source has all three.
    """

    iterations: int = 0
    dram: float | None = None
    again: float = 0.0
    follows_chip: bool = False
    tf32_products: int = 3


def launch_work(launch: Launch) -> Work:
    """Return the work of a launch.

    Raises:
        KeyError: If the kernel is not listed in `COUNTS`.
    """
    a, grid, name = launch.arguments, launch.grid, kernel_name(launch)
    counts, programs = COUNTS[name](a, grid), math.prod(grid)
    dram = _tensor_bytes(a) if counts.dram is None else counts.dram
    code = code_of(specialisation(launch))
    flops: dict[Products, float] = {}
    if code is not None:
        times = {"tf32": counts.tf32_products}
        flops = {
            kind: programs * counts.iterations * value * times.get(kind, 1) for kind, value in code.products.items()
        }
    return Work(
        name,
        dram=dram,
        l2=dram + counts.again,
        flops=flops,
        instructions=code.executed(counts.iterations) if code is not None else 0.0,
        programs=programs,
        warps=launch.num_warps,
        follows_chip=counts.follows_chip,
        fused=True,
    )


def kernel_name(launch: Launch) -> str:
    """Return the name of a kernel with its module, "dense_block.forward_kernels.conv_kernel"."""
    function = launch.kernel.fn
    return f"{function.__module__.removeprefix('fastser_kernels.')}.{function.__name__}"


def _tensor_bytes(a: Arguments) -> float:
    distinct = {id(value): value for value in a.values() if isinstance(value, Tensor)}
    return float(sum(tensor.numel() * tensor.element_size() for tensor in distinct.values()))


def _ceil(number: int, by: int) -> int:
    return -(-number // by)


def _conv(a: Arguments, grid: Grid) -> Counts:
    """Each layer reads its C maps and writes G. The rows above, at and below a tile come three times from the cache."""
    C, G, itemsize = a["C_units"] * a["UNIT"], a["G_units"] * a["UNIT"], a["maps_ptr"].element_size()
    pixels, weights = a["pixels"], a["weight_ptr"].numel() * itemsize
    again = 2 * pixels * C * itemsize + (math.prod(grid) - 1) * weights / grid[1]
    dram = pixels * (C + G) * itemsize + weights
    return Counts(_ceil(3 * C, a["BK"]), float(dram), again, tf32_products=1)


def _input_gradient(a: Arguments, grid: Grid) -> Counts:
    """Each program of BC channels reads the gradient of GROUP maps nine times, and its share of the weights once."""
    C, pixels, itemsize = a["C_units"] * a["UNIT"], a["N"] * a["T"] * a["F"], a["maps_ptr"].element_size()
    blocks, depth = _ceil(C, a["BC"]), a["groups"] * a["DEPTH"]
    parts = 2 if itemsize == 4 else 1
    dram = pixels * (3 * C + a["groups"] * a["GROUP"]) * itemsize + a["sums_ptr"].numel() * 4
    window = pixels * (9 * blocks - 1) * a["groups"] * a["GROUP"] * itemsize
    weights = math.prod(grid) * a["BC"] * depth * parts * itemsize
    return Counts(depth // a["BK"], float(dram), float(window + weights), tf32_products=1)


def _conv_backward(a: Arguments, grid: Grid) -> Counts:
    """The gradient of GROUP maps is read nine times by each program of BC channels."""
    C, G, pixels = a["C_units"] * a["UNIT"], a["GROUP"], a["N"] * a["T"] * a["F"]
    itemsize = a["maps_ptr"].element_size()
    dram = pixels * ((3 if a["INPUT"] else 1) * C + G) * itemsize + a["partial_ptr"].numel() * 4
    again = pixels * (9 * grid[1] - 1) * G * itemsize
    return Counts(_ceil(a["tiles"], grid[0]), float(dram), float(again), follows_chip=True)


def _partials(a: Arguments, _: Grid) -> Counts:
    return Counts(_ceil(a["P"], a["BP"]))


def _sums(a: Arguments, grid: Grid) -> Counts:
    return Counts(_ceil(a["rows"], grid[0]) * _ceil(a["POOLED_F"], a["BF"]))


def _highway(a: Arguments, grid: Grid) -> Counts:
    """Each program reads its rows, and its columns of both weights."""
    itemsize = a["x_ptr"].element_size()
    tile = (a["BLOCK_M"] + 2 * a["BLOCK_N"]) * a["U"] * itemsize
    return Counts(_ceil(a["U"], a["BLOCK_K"]), again=math.prod(grid) * tile)


def _recurrence(a: Arguments, grid: Grid) -> Counts:
    """Weights that do not fit into shared memory come from the cache at every step."""
    fit = a["BLOCK_K"] == a["BLOCK_H"]
    weights = 0 if fit else grid[0] * a["steps"] * 4 * a["H"] ** 2 * a["w_ptr"].element_size()
    return Counts(a["steps"], again=float(weights))


def _gather(a: Arguments, _: Grid) -> Counts:
    """One or two windows are read from the bank, the result is written."""
    windows = 1 if a["start_b_ptr"] is None else 2
    written = a["out_ptr"].numel() * a["out_ptr"].element_size()
    return Counts(dram=float(written * (1 + windows)))


def _level(a: Arguments, grid: Grid) -> Counts:
    """Each tile of frames reads its samples, and both parts of its tile of the basis."""
    steps, tiles = _ceil((a["win"] + 1) // 2, a["TK"]), 1 if a["filterbank_ptr"] is None else a["bin_tiles"]
    samples = (a["TM"] - 1) * a["hop"] + a["win"]
    sounds = 1 if a["noise_ptr"] is None else 2
    per_segment = ((a["segment_frames"] - 1) * a["hop"] + a["win"]) * sounds * 4
    dram = len(a["start_ptr"]) * per_segment + a["out_ptr"].numel() * 4
    again = math.prod(grid) * tiles * (sounds * samples + 4 * steps * a["TK"] * a["TF"]) * 4
    return Counts(steps * tiles, float(dram), float(again), tf32_products=1)


COUNTS: dict[str, Callable[[Arguments, Grid], Counts]] = {
    "dense_block.forward_kernels.conv_kernel": _conv,
    "dense_block.operand_kernels.prepare_kernel": lambda *_: Counts(),
    "dense_block.input_gradient_kernels.pack_kernel": lambda *_: Counts(),
    "dense_block.input_gradient_kernels.input_gradient_kernel": _input_gradient,
    "dense_block.weight_gradient_kernels.conv_backward_kernel": _conv_backward,
    "dense_block.weight_gradient_kernels.finish_weights_kernel": _partials,
    "dense_block.correction_kernels.finish_channels_kernel": _partials,
    "dense_block.correction_kernels.correct_kernel": lambda a, _: Counts(
        dram=_tensor_bytes(a if a["CORRECT"] else {key: a[key] for key in ("source_ptr", "target_ptr")})
    ),
    "moments_kernels.maps_kernel": lambda a, _: Counts(a["steps"]),
    "moments_kernels.finish_kernel": _partials,
    "norm_pool_kernels.pool_kernel": lambda *_: Counts(),
    "norm_pool_kernels.sums_kernel": _sums,
    "norm_pool_kernels.pool_backward_kernel": lambda *_: Counts(),
    "max_pool_relu.kernels.pool_kernel": lambda *_: Counts(),
    "max_pool_relu.kernels.spread_kernel": lambda *_: Counts(),
    "highway.kernels.layer_kernel": _highway,
    "highway.kernels.layer_backward_kernel": _highway,
    "highway.kernels.parameters_backward_kernel": lambda a, _: Counts(_ceil(a["N"], a["BLOCK_K"])),
    "lstm.kernels.recurrence_kernel": _recurrence,
    "lstm.kernels.recurrence_backward_kernel": _recurrence,
    "gather.kernels.gather_kernel": _gather,
    "linf_step.kernels.step_kernel": lambda *_: Counts(),
    "log_spectrogram.forward_kernels.level_kernel": _level,
}
"""Bytes and iterations of each kernel that a step of a model launches."""
