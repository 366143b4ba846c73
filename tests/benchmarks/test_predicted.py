"""Predictions: limits by hand, counts against the ideal ones, and the committed numbers against the code."""

import json
from pathlib import Path

import pytest
import torch
from fastser_kernels.dense_block.op import ideal_bytes, ideal_flops
from fastser_kernels.registration import INTERPRETED

from benchmarks.predicted.chips import (
    ATEN_HOST_SECONDS,
    CHIPS,
    DRAM_SHARE,
    FUSED_HOST_SECONDS,
    LAUNCH_SECONDS,
    TENSOR_SHARE,
    Chip,
    chip_named,
)
from benchmarks.predicted.work import Work, binding, limits, seconds, total_seconds
from fastser.experiment.estimate import Pace
from fastser.experiment.predicted_hours import PACES
from fastser.experiment.tables import TABLES
from fastser.models import MODELS
from fastser.settings import PAPER, SCALES

pytest.importorskip("triton", reason="Triton is not installed")

CHIP = Chip("made up", 10, 1e9, 1e12, 2e12, {"bf16": 1e14, "tf32": 5e13, "fp32": 1e13}, "nowhere")
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.mark.fast
def test_each_limit_follows_from_its_count() -> None:
    work = Work("kernel", 9e9, 8e9, {"bf16": 4e11, "tf32": 1e11}, instructions=2000.0, programs=15, warps=8)
    busiest = 2  # of 10 multiprocessors with 15 programs
    assert limits(work, CHIP) == pytest.approx(
        {
            "DRAM": 9e-3 / DRAM_SHARE,
            "L2": 4e-3,
            "tensor": (4e-3 + 2e-3) / TENSOR_SHARE * busiest / 1.5,
            "issue": busiest * 8 * 2000 / 4e9,
            "latency": 2000 * 4 / 1e9,
        }
    )
    assert seconds(work, CHIP) == pytest.approx(1e-2 + LAUNCH_SECONDS)
    assert binding([work], CHIP) == "DRAM"


@pytest.mark.fast
def test_programs_that_follow_the_chip_leave_no_multiprocessor_idle() -> None:
    fixed, following = (
        Work("kernel", 0.0, flops={"bf16": 1e11}, instructions=1000.0, programs=15, follows_chip=follows)
        for follows in (False, True)
    )
    assert limits(fixed, CHIP)["tensor"] == pytest.approx(limits(following, CHIP)["tensor"] * 2 / 1.5)
    assert limits(fixed, CHIP)["latency"] == pytest.approx(1000 * 4 / 1e9)
    assert limits(following, CHIP)["latency"] == pytest.approx(1000 * 4 / 1e9 * 15 / 20)  # of 20 programs, not of 15


@pytest.mark.fast
def test_a_step_waits_for_the_host_unless_it_is_a_graph() -> None:
    works = [Work("tiny", 1.0, fused=True), Work("aten", 1.0)]
    on_gpu = sum(seconds(work, CHIP) for work in works)
    assert total_seconds(works, CHIP, in_graph=True) == pytest.approx(on_gpu)
    assert total_seconds(works, CHIP, in_graph=False) == pytest.approx(FUSED_HOST_SECONDS + ATEN_HOST_SECONDS)
    assert binding(works, CHIP) == "launch"
    large = [Work("large", 1e12)]
    assert total_seconds(large, CHIP, in_graph=False) == seconds(large[0], CHIP)


@pytest.mark.fast
def test_chips_are_found_by_the_name_of_a_device() -> None:
    assert [chip_named(f"NVIDIA {name}").name for name in ("H200", "A100-SXM4-80GB")] == ["H200", "A100"]  # type: ignore[union-attr]
    assert chip_named("NVIDIA T4") is None


@pytest.mark.fast
def test_committed_paces_cover_every_scale_chip_and_model() -> None:
    committed = json.loads(PACES.read_text())
    assert {scale: {*of_chip} for scale, of_chip in committed.items()} == {s: {c.name for c in CHIPS} for s in SCALES}
    for of_chip in committed.values():
        for of_model in of_chip.values():
            assert list(of_model) == list(MODELS)
            assert all(len(pace) == 3 and min(pace) > 0 for pace in of_model.values())


@pytest.mark.fast
def test_the_paper_has_its_runs_and_counts_shared_ones_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.predicted import paper

    assert len(paper.points(PAPER, TABLES)) == 2800
    assert {corpus.utterances for corpus in paper.CORPORA.values()} == {5531, 7798}
    monkeypatch.setattr(paper, "paces", lambda *_: dict.fromkeys(MODELS, Pace(1.0, 0.0, 0.0)))
    alone = [paper.hours([name], CHIP) for name in ("table1", "table3", "table4")]
    assert paper.hours(["table1", "table3"], CHIP) < sum(alone[:2])
    assert paper.hours(["table1", "table4"], CHIP) == pytest.approx(alone[0] + alone[2])


@pytest.mark.skipif(INTERPRETED, reason="a process that interprets kernels cannot compile them")
class TestRecorded:
    """Counts of recorded launches, in a process that compiles kernels."""

    def test_the_bytes_and_products_of_a_dense_block_are_near_the_ideal(self) -> None:
        from benchmarks.predicted.record import operation_work

        n, channels, t, f, growth_rate, layers = 64, 48, 128, 64, 24, 6
        sizes = [channels + i * growth_rate for i in range(layers)]
        vectors, kernels = [_meta(c) for c in sizes], [_meta(growth_rate, c, 3, 3) for c in sizes]
        x, maps = (_maps(n, c, t, f) for c in (channels, sizes[-1] + growth_rate))
        lists = vectors, vectors, [], [], kernels
        forward = operation_work("dense_block_forward", (x, *lists, True, 1e-5))
        statistics = _meta(sizes[-1])
        backward = operation_work("dense_block_backward", (maps, maps, *[statistics] * 2, *lists, True, 1e-5, False))
        least = ideal_bytes(n * t * f, channels, growth_rate, layers, 2)
        fewest = ideal_flops(n * t * f, channels, growth_rate, layers)
        for works, bytes_, flops in zip((forward, backward), least, fewest, strict=True):
            fused = [work for work in works if work.fused]
            assert all(work.instructions > 0 for work in fused)
            assert (
                bytes_ <= sum(work.dram for work in fused) <= 1.2 * bytes_
            )  # partial sums, and the gradient of a layer's own maps once more
            assert flops <= sum(work.flops.get("bf16", 0.0) for work in fused) <= 1.8 * flops

    @pytest.mark.parametrize(("scale", "name"), [("paper", "cnn"), ("quick", "proposed")])
    def test_committed_numbers_are_current(self, scale: str, name: str) -> None:
        from benchmarks.predicted.__main__ import rounded
        from benchmarks.predicted.page import step_row
        from benchmarks.predicted.paper import pace
        from benchmarks.predicted.steps import KINDS

        committed, printed = json.loads(PACES.read_text()), (RESULTS / "predicted.md").read_text()
        for chip in CHIPS:
            hint = "the kernels have changed: run python -m benchmarks.predicted --write and look at the difference"
            assert committed[scale][chip.name][name] == rounded(pace(name, scale, chip)), hint
        for kind in KINDS:
            assert f"| {' | '.join(step_row(scale, name, kind))} |" in printed


def _meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def _maps(n: int, channels: int, t: int, f: int) -> torch.Tensor:
    return torch.empty(n, t, f, channels, dtype=torch.bfloat16, device="meta").permute(0, 3, 1, 2)
