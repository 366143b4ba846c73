"""Kernels executed from their PTX: the kernel cases of every family, and faults put into a kernel, which are reported.

`PYTHONPATH=tests pytest -p ptx_machine.tier -m ptx tests/kernels` runs all cases; a plain run selects some.
"""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from fastser_kernels import linf_step
from fastser_kernels.registration import INTERPRETED, OPERATIONS

triton = pytest.importorskip("triton", reason="Triton is not installed")
pytestmark = [
    pytest.mark.ptx,
    pytest.mark.skipif(INTERPRETED, reason="a process that interprets kernels cannot compile them"),
]

if not INTERPRETED:
    import triton.language as tl
    from ahead_of_time import specialisations, specialise
    from fastser_kernels.launch import Launch, launched_by, recorded
    from ptx_machine import Counts, Machine, PtxError
    from ptx_machine.launches import compile_to_ptx, compiled, execute
    from triton.compiler import ASTSource

SELECTED = (
    "(dense_block and normal_maps and bfloat16 and standard-training) or (highway and bfloat16 and less)"
    " or (lstm and small_states)"
    " or (log_spectrogram and any_layout) or (transition and default_dtype) or (gather and any_layout)"
    " or (max_pool_relu and values) or (linf_step and visible)"
)
"""Cases of each family that a plain run of pytest selects."""


@pytest.fixture
def full_tier(request: pytest.FixtureRequest) -> bool:
    """Tell whether this process runs all kernel cases."""
    return bool(request.config.pluginmanager.has_plugin("ptx_machine.tier"))


def test_kernel_cases_pass_from_their_ptx(full_tier: bool) -> None:
    """Run a selection in a process of its own, beside other test files."""
    if full_tier:
        pytest.skip("this process runs all cases")
    folder = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "ptx_machine.tier", "-m", "ptx and kernel"]
    path = os.pathsep.join([str(folder.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    tier = subprocess.run(
        [*command, "-k", SELECTED, str(folder)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tier.returncode == 0, tier.stdout[-7000:]
    assert int(re.findall(r"(\d+) passed", tier.stdout)[-1]) > 15


def test_operations_on_cpu_tensors_launch_inside_the_block_only() -> None:
    launches: list[Launch] = []
    adversarial, clean, gradient = torch.rand(3, 2, 4)
    with launched_by(launches.append):
        linf_step(adversarial, clean, gradient, 0.1, 0.2, None)
    before = adversarial.clone()
    linf_step(adversarial, clean, gradient, 0.1, 0.2, None)
    assert [(launch.kernel.fn.__name__, launch.grid) for launch in launches] == [("step_kernel", (1,))]
    assert not torch.equal(adversarial, before)


def test_every_opcode_of_every_launch_is_known(full_tier: bool) -> None:
    """Decode all kernels that the five models launch."""
    if not full_tier:
        pytest.skip("compiles every kernel: only in the tier of its own")
    for specialisation in specialisations():
        Machine(*compiled(specialisation))


@pytest.fixture(scope="module")
def launch() -> "Launch":
    """Launch of a highway layer: asynchronous copies in a loop, masks, products, exchanges through shared memory."""
    torch.manual_seed(0)
    x, w_h, w_t, b_h, b_t = (torch.randn(shape) for shape in ((19, 70), (70, 70), (70, 70), (70,), (70,)))
    with recorded() as launches:
        OPERATIONS["highway_forward"].launch(x, [w_h], [b_h], [w_t], [b_t])
    return launches[0]


def _without(ptx: str, opcode: str) -> list[str]:
    """Return the text once for each instruction of this opcode, without it."""
    places = [match.span() for match in re.finditer(rf"^\t{re.escape(opcode)}.*$", ptx, re.MULTILINE)]
    return [ptx[:start] + ptx[end:] for start, end in places]


def test_a_missing_barrier_is_a_race(launch: "Launch") -> None:
    ptx, _ = compiled(specialise(launch))
    broken = _without(ptx, "bar.sync")
    assert len(broken) > 4
    for text in broken:
        with pytest.raises(PtxError, match=r"layer_kernel, PTX line \d+ \(\w+\.py:\d+:\d+\): .* shared memory: race"):
            execute(launch, text)


def test_a_missing_wait_is_reported(launch: "Launch") -> None:
    ptx, _ = compiled(specialise(launch))
    broken = _without(ptx, "cp.async.wait_group")
    assert len(broken) > 1
    for text in broken:
        with pytest.raises(PtxError, match=r"before its wait_group|a cp\.async is on its way"):
            execute(launch, text)


@pytest.mark.parametrize("size", ["N", "U"])
def test_a_mask_that_is_too_wide_leaves_the_tensors(launch: "Launch", size: str) -> None:
    wrong = replace(launch, arguments=launch.arguments | {size: launch.arguments[size] + 1})
    with pytest.raises(PtxError, match=r"global memory: access .* outside of a tensor"):
        execute(wrong)


def test_a_missing_guard_leaves_the_tensors(launch: "Launch") -> None:
    ptx, _ = compiled(specialise(launch))
    unguarded = re.sub(r"@%p\d+ (st\.global)", r"\1", ptx, count=1)
    assert unguarded != ptx
    with pytest.raises(PtxError, match=r"st\.global.* outside of a tensor"):
        execute(launch, unguarded)


def test_requests_are_counted(launch: "Launch") -> None:
    """A layer reads and writes whole sectors, and its tiles cause no bank conflicts."""
    counts = Counts()
    execute(launch, counts=counts)
    assert counts.instructions["mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"] > 0
    assert counts.global_bytes / (32 * counts.sectors) > 0.7
    assert counts.bank_conflicts == 0


if not INTERPRETED:

    @triton.jit
    def flattened_kernel(
        x_ptr, w_ptr, y_ptr, N, C, H, W, D, P, Q,
        KERNEL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    ):  # fmt: skip
        """Convolve `[N, C, H, W]` by stride (2, 3) and padding (4, 5), with one loop over taps and channels."""
        pixel = tl.program_id(0) * BM + tl.arange(0, BM)
        q, p, n = pixel % Q, pixel // Q % P, pixel // Q // P
        d = tl.program_id(1) * BN + tl.arange(0, BN)
        total = tl.zeros((BM, BN), tl.float32)
        chunks = tl.cdiv(C, BK)
        for step in range(KERNEL * KERNEL * chunks):
            tap = step // chunks
            c = step % chunks * BK + tl.arange(0, BK)
            h, w = p * 2 - 4 + tap // KERNEL, q * 3 - 5 + tap % KERNEL
            inside = (n < N) & (h >= 0) & (h < H) & (w >= 0) & (w < W)
            at = (n * C * H * W + h * W + w)[:, None] + (c * H * W)[None, :]
            x = tl.load(x_ptr + at, mask=inside[:, None] & (c < C)[None, :], other=0.0)
            at = (c * KERNEL * KERNEL + tap)[:, None] + (d * C * KERNEL * KERNEL)[None, :]
            total += tl.dot(
                x, tl.load(w_ptr + at, mask=(c < C)[:, None] & (d < D)[None, :], other=0.0), input_precision="ieee"
            )
        at = (n * D * P * Q + p * Q + q)[:, None] + (d * P * Q)[None, :]
        tl.store(y_ptr + at, total, mask=(n < N)[:, None] & (d < D)[None, :])


@pytest.mark.parametrize("num_warps", [4, 8])
def test_a_flattened_convolution_is_right_with_any_number_of_warps(num_warps: int) -> None:
    """On an H100 a loop of this form gave wrong results with 8 warps (pytorch issue 173068); sizes are of its test."""
    torch.manual_seed(0)
    x, w = torch.randn(2, 33, 34, 41), torch.randn(34, 33, 3, 3)
    exact = F.conv2d(x.double(), w.double(), stride=(2, 3), padding=(4, 5))
    y = torch.full(exact.shape, torch.nan)
    constants = {"KERNEL": 3, "BM": 64, "BN": 64, "BK": 32}
    sizes = [*x.shape, *y.shape[1:]]
    names = flattened_kernel.arg_names
    signature = dict.fromkeys(names[:3], "*fp32") | dict.fromkeys(names[3:10], "i32")
    source = ASTSource(
        fn=flattened_kernel,
        signature=signature | dict.fromkeys(constants, "constexpr"),
        constexprs=constants,
        attrs={(place,): [["tt.divisibility", 16]] for place in range(3)},
    )
    ptx, shared = compile_to_ptx(source, num_warps, num_stages=2)
    Machine(ptx, shared).run((triton.cdiv(680, 64), 1), [x, w, y, *sizes])
    torch.testing.assert_close(y.double(), exact, rtol=1e-5, atol=1e-4)
