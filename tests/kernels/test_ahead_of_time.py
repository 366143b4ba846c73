"""Tier three: every kernel in every configuration that the models launch, compiled for GPUs that are not here."""

import json
from dataclasses import asdict

import pytest
from fastser_kernels.registration import INTERPRETED

triton = pytest.importorskip("triton", reason="Triton is not installed")
pytestmark = [
    pytest.mark.aot,
    pytest.mark.skipif(INTERPRETED, reason="a process that interprets kernels cannot compile them"),
]

if not INTERPRETED:
    from ahead_of_time import RESOURCES, SHARED_LIMIT, Resources, compile_all


@pytest.fixture(scope="module")
def compiled() -> "dict[str, dict[str, Resources]]":
    """Resources of every kernel on every target."""
    return compile_all()


def test_no_kernel_spills_or_asks_for_too_much(compiled: "dict[str, dict[str, Resources]]") -> None:
    for kernel, by_target in compiled.items():
        for target, resources in by_target.items():
            where = f"{kernel} on {target}: {resources}"
            assert resources.stack == 0, where
            assert resources.spills == 0, where
            assert resources.shared <= SHARED_LIMIT[target], where


def test_kernels_use_wide_accesses(compiled: "dict[str, dict[str, Resources]]") -> None:
    for kernel, by_target in compiled.items():
        assert by_target["sm_90"].wide_accesses > 0, f"{kernel}: no 16-byte access, {by_target['sm_90']}"


def test_products_run_on_tensor_cores(compiled: "dict[str, dict[str, Resources]]") -> None:
    with_dot = {kernel: by_target for kernel, by_target in compiled.items() if "PRECISION" in kernel}
    assert with_dot
    for kernel, by_target in with_dot.items():
        for target, resources in by_target.items():
            assert resources.matrix_instructions > 0, f"{kernel} on {target}: {resources}"


def test_resources_are_the_committed_ones(compiled: "dict[str, dict[str, Resources]]") -> None:
    committed = json.loads(RESOURCES.read_text())
    if committed["triton"] != triton.__version__:
        pytest.skip(f"resources.json was made with triton {committed['triton']}, this is {triton.__version__}")
    actual = {kernel: {t: asdict(r) for t, r in by_target.items()} for kernel, by_target in compiled.items()}
    assert actual == committed["kernels"], "run python tests/kernels/ahead_of_time.py and look at the difference"
