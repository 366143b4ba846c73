"""The ahead-of-time tier: every kernel in every configuration that the models launch, compiled for eight GPUs."""

import json
import re
from dataclasses import asdict

import pytest
from fastser_kernels.registration import INTERPRETED

triton = pytest.importorskip("triton", reason="Triton is not installed")
pytestmark = [
    pytest.mark.aot,
    pytest.mark.slow,
    pytest.mark.skipif(INTERPRETED, reason="a process that interprets kernels cannot compile them"),
]

if not INTERPRETED:
    from ahead_of_time import RESOURCES, compile_all, label, misfits, recorded_launches, specialisations, specialise
    from issue_slots import nanoseconds
    from resources import Resources
    from targets import TARGETS

    Table = dict[str, dict[str, Resources]]

SMALL_TILES = {
    "highway": "16 rows: with 64, a batch of 64 would use only a quarter of the multiprocessors",
    "lstm: .* BLOCK_H=32": "32 rows: the model has 32 units",
}
"""Kernels with tiles of fewer rows than the 64 of HGMMA, each with its reason."""

NARROW = {"finish_kernel .* by 16: none": "a few hundred KB of partial sums, whose number is not a multiple of 16"}
"""Kernels that need no 16-byte access, each with its reason."""

SERIALISED: dict[str, str] = {}
"""Kernels whose HGMMAs wait for each other on sm_90, each with its reason."""

ISSUE_SLOTS = {
    r"\| conv_kernel (bf16|fp16) ": 6.5,
    r"\| conv_kernel fp32 ": 17.0,
    r"\| conv_backward_kernel (bf16|fp16) .* INPUT=True": 40.0,
    r"\| (conv_backward_kernel fp32 .* INPUT=True|input_gradient_kernel fp32 )": 60.0,
}
"""Largest number of instructions per element on sm_90 of kernels that would otherwise be bound by them."""

SEGMENT_NANOSECONDS = 200.0
"""Largest time in which an H100 issues the instructions of the log-spectrogram of a segment at paper scale."""


@pytest.fixture(scope="module")
def compiled() -> "Table":
    """Return the resources of every kernel on every target."""
    return compile_all()


@pytest.fixture
def committed() -> "Table":
    """Return the committed resources, if the Triton of this environment made them."""
    record = json.loads(RESOURCES.read_text())
    if record["triton"] != triton.__version__:
        pytest.skip(f"resources.json was made with triton {record['triton']}, this is {triton.__version__}")
    kernels: Table = record["kernels"]
    return kernels


def test_no_kernel_spills_or_asks_for_too_much(compiled: "Table") -> None:
    assert {architecture for by_target in compiled.values() for architecture in by_target} == TARGETS.keys()
    assert misfits(compiled) == []


def test_kernels_use_wide_accesses(compiled: "Table") -> None:
    for kernel, resources in on("sm_90", compiled).items():
        narrow = any(re.search(known, kernel) for known in NARROW)
        assert (resources.wide_accesses == 0) == narrow, f"{kernel}: {resources}"


def test_products_run_on_tensor_cores(compiled: "Table") -> None:
    with_products = {kernel for kernel, resources in on("sm_90", compiled).items() if resources.products}
    assert {kernel for kernel in compiled if "PRECISION" in kernel} >= with_products
    for architecture in (architecture for architecture, target in TARGETS.items() if target.whole):
        for kernel, r in on(architecture, compiled).items():
            assert (r.hmma + r.hgmma + r.utcmma + r.mfma > 0) == (kernel in with_products), f"{kernel}: {r}"


def test_products_run_on_the_tensor_cores_of_sm_90_but_for_small_tiles(compiled: "Table") -> None:
    """HGMMA multiplies 64 rows of any dtype with four warps."""
    for kernel, resources in on("sm_90", compiled).items():
        if resources.products:
            rows = min(int(rows) for rows in re.findall(r"(\d+)x\d+x\d+", resources.products))
            assert (rows < 64) == any(re.search(known, kernel) for known in SMALL_TILES), f"{kernel}: {resources}"
            assert (resources.hgmma > 0, resources.hmma > 0) == (rows >= 64, rows < 64), f"{kernel}: {resources}"


def test_asynchronous_products_of_sm_90_overlap(compiled: "Table") -> None:
    for kernel, resources in on("sm_90", compiled).items():
        known = any(re.search(pattern, kernel) for pattern in SERIALISED)
        assert resources.serialised == known, f"{kernel}: {resources}"


def test_no_chained_products_are_pipelined_on_sm_100(compiled: "Table") -> None:
    """Triton pipelines them wrongly where accumulators are in tensor memory (triton issue 10821)."""
    chained = {kernel: r for kernel, r in on("sm_100", compiled).items() if r.chained_products and r.utcmma}
    assert {kernel for kernel, r in chained.items() if r.stages > 1} == set()


@pytest.mark.parametrize(("kernels", "most"), ISSUE_SLOTS.items())
def test_dense_blocks_need_few_instructions_per_element(
    kernels: str, most: float, compiled: "Table", committed: "Table"
) -> None:
    slots = {kernel: r.slots for kernel, r in on("sm_90", compiled).items() if re.search(kernels, kernel)}
    assert slots
    assert {kernel: count for kernel, count in slots.items() if count is None or count > most} == {}


def test_a_segment_of_the_log_spectrogram_needs_few_instructions(compiled: "Table", committed: "Table") -> None:
    batch = 64
    ((name, launches),) = recorded_launches("log_spectrogram: paper clean", batch)
    resources = [compiled[label(specialise(launch), name)]["sm_90"] for launch in launches]
    counted = [(launch, r.instructions, r.loop_instructions) for launch, r in zip(launches, resources, strict=True)]
    assert nanoseconds(counted) / batch <= SEGMENT_NANOSECONDS


def test_another_batch_size_compiles_nothing_new() -> None:
    """`finish_kernel` is excepted: its wide loads need the divisibility of the number of partial sums."""
    usual, other = set(specialisations()), set(specialisations(batch=37)) | set(specialisations(batch=1))
    assert {specialisation.kernel for specialisation in other - usual} <= {"finish_kernel"}


def test_resources_are_the_committed_ones(compiled: "Table", committed: "Table") -> None:
    actual = {kernel: {t: asdict(r) for t, r in by_target.items()} for kernel, by_target in compiled.items()}
    assert actual == committed, "run python tests/kernels/ahead_of_time.py and look at the difference"


def on(architecture: str, table: "Table") -> "dict[str, Resources]":
    """Return the rows of a table for one target."""
    return {kernel: by_target[architecture] for kernel, by_target in table.items() if architecture in by_target}
