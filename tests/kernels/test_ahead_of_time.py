"""The ahead-of-time tier: every kernel in every configuration that the models launch, compiled for four GPUs."""

import json
import re
from dataclasses import asdict

import pytest
from fastser_kernels.registration import INTERPRETED

triton = pytest.importorskip("triton", reason="Triton is not installed")
pytestmark = [
    pytest.mark.aot,
    pytest.mark.skipif(INTERPRETED, reason="a process that interprets kernels cannot compile them"),
]

if not INTERPRETED:
    from ahead_of_time import RESOURCES, SHARED_LIMIT, Resources, compile_all, specialisations

SMALL_TILES = {
    "highway": "16 rows: with 64, a batch of 64 would use only a quarter of the multiprocessors",
    "lstm: .* BLOCK_H=32": "32 rows: the model has 32 units",
    "conv_backward_kernel .* BP=16, .* INPUT=True": "16 rows: with 64, three tf32 products of float32 operands spill",
}
"""Kernels with tiles of fewer rows than the 64 of HGMMA, each with its reason."""

NARROW = {"finish_kernel .* by 16: none": "a few hundred KB of partial sums, whose number is not a multiple of 16"}
"""Kernels that need no 16-byte access, each with its reason."""


@pytest.fixture(scope="module")
def compiled() -> "dict[str, dict[str, Resources]]":
    """Return the resources of every kernel on every target."""
    return compile_all()


def test_no_kernel_spills_or_asks_for_too_much(compiled: "dict[str, dict[str, Resources]]") -> None:
    for kernel, by_target in compiled.items():
        for target, resources in by_target.items():
            where = f"{kernel} on {target}: {resources}"
            assert resources.stack == 0, where
            assert resources.spills == 0, where
            assert resources.shared <= SHARED_LIMIT[target], where


def test_kernels_use_wide_accesses(compiled: "dict[str, dict[str, Resources]]") -> None:
    for kernel, resources in ((kernel, by_target["sm_90"]) for kernel, by_target in compiled.items()):
        narrow = any(re.search(known, kernel) for known in NARROW)
        assert (resources.wide_accesses == 0) == narrow, f"{kernel}: {resources}"


def test_products_run_on_tensor_cores(compiled: "dict[str, dict[str, Resources]]") -> None:
    with_products = {kernel: by_target for kernel, by_target in compiled.items() if by_target["sm_90"].products}
    assert {kernel for kernel in compiled if "PRECISION" in kernel} == set(with_products)
    for kernel, by_target in with_products.items():
        for target, r in by_target.items():
            assert r.hmma + r.hgmma + r.utcmma + r.mfma > 0, f"{kernel} on {target}: {r}"


def test_products_run_on_the_tensor_cores_of_sm_90_but_for_small_tiles(
    compiled: "dict[str, dict[str, Resources]]",
) -> None:
    """HGMMA multiplies 64 rows of any dtype with four warps."""
    for kernel, resources in ((kernel, by_target["sm_90"]) for kernel, by_target in compiled.items()):
        if resources.products:
            rows = min(int(rows) for rows in re.findall(r"(\d+)x\d+x\d+", resources.products))
            assert (rows < 64) == any(re.search(known, kernel) for known in SMALL_TILES), f"{kernel}: {resources}"
            assert (resources.hgmma > 0, resources.hmma > 0) == (rows >= 64, rows < 64), f"{kernel}: {resources}"


def test_another_batch_size_compiles_nothing_new() -> None:
    """`finish_kernel` is excepted: its wide loads need the divisibility of the number of partial sums."""
    usual, other = set(specialisations()), set(specialisations(batch=37)) | set(specialisations(batch=1))
    assert {specialisation.kernel for specialisation in other - usual} <= {"finish_kernel"}


def test_resources_are_the_committed_ones(compiled: "dict[str, dict[str, Resources]]") -> None:
    committed = json.loads(RESOURCES.read_text())
    if committed["triton"] != triton.__version__:
        pytest.skip(f"resources.json was made with triton {committed['triton']}, this is {triton.__version__}")
    actual = {kernel: {t: asdict(r) for t, r in by_target.items()} for kernel, by_target in compiled.items()}
    assert actual == committed["kernels"], "run python tests/kernels/ahead_of_time.py and look at the difference"
