"""Rules that the PTX machine checks: each is broken once by a small kernel, and kept by its neighbour."""

import pytest
import torch
from ptx_machine import Counts, Machine, PtxError
from ptx_machine.snippets import kernel_text

pytestmark = [pytest.mark.ptx, pytest.mark.fast]

START = """
    mov.u32 %r0, %tid.x;
    ld.param.b64 %rd0, [kernel_param_0];
    mad.wide.u32 %rd1, %r0, 4, %rd0;
    mov.b32 %r1, global_smem;
    mad.lo.u32 %r2, %r0, 4, %r1;
    xor.b32 %r3, %r2, 4;
    setp.eq.b32 %p0, %r0, 5;
    setp.lt.u32 %p1, %r0, 32;
    and.b32 %r9, %r0, 31;
    mov.u32 %r11, %ctaid.x;
    setp.eq.b32 %p2, %r11, 1;
"""
"""Prologue: thread, tensor, own place in the tensor and in shared memory, place of the neighbour, some predicates."""


def _run(body: str, threads: int = 64, blocks: int = 2, counts: Counts | None = None) -> torch.Tensor:
    """Run a body on a tensor of one int32 value for each thread, and return the tensor."""
    registers = {"pred": "%p<9>", "b16": "%rs<9>", "b32": "%r<30>", "b64": "%rd<9>"}
    ptx = kernel_text("kernel", 1, threads, registers, START + body)
    values = torch.arange(threads, dtype=torch.int32)
    Machine(ptx, 1024).run((blocks,), [values], counts)
    return values


STORE, LOAD = "st.shared.b32 [%r2], %r0;\n", "ld.shared.b32 %r4, [%r3];\n"
COPY = "cp.async.ca.shared.global [ %r2 + 0 ], [ %rd1 + 0 ], 0x4, 4;\ncp.async.commit_group;\n"
READ_OF_ALL = "ld.shared.b32 %r4, [%r1];\n"
WRITE_OF_ONE = "bar.warp.sync -1;\nsetp.eq.b32 %p3, %r0, {};\n@%p3 st.shared.b32 [%r1], %r0;\n"

BROKEN = {
    "behind the tensor": (
        "ld.global.b32 %r4, [%rd1+4];", r"thread 63 of block \(0, 0, 0\): global memory: access 4 bytes outside",
    ),
    "before the tensor": (
        "ld.global.b32 %r4, [%rd1+-4];", r"thread 0 of .* address -4 bytes from the start of storage 1",
    ),
    "a null pointer": ("mov.b64 %rd1, 0; ld.global.b32 %r4, [%rd1];", "access of no tensor"),
    "misaligned": ("ld.global.b32 %r4, [%rd1+2];", "thread 0 of .* misaligned access of 4 bytes"),
    "misaligned vector": ("ld.global.v2.b32 {%r4, %r5}, [%rd1];", "thread 1 of .* misaligned access of 8 bytes"),
    "misaligned in shared memory": ("st.shared.b32 [%r2+2], %r0;", "shared memory: misaligned"),
    "behind shared memory": ("st.shared.b32 [%r2+1000], %r0;", "outside of the 1024 bytes"),
    "two values at one address": ("st.global.b32 [%rd0], %r0;", "different values at one address"),
    "two values at one shared address": ("st.shared.b32 [%r1], %r0;", "different values at one address"),
    "an unwritten register": ("add.s32 %r4, %r20, 1; mov.b32 %r20, 1;", "register %r20 is read before it is written"),
    "uninitialised shared memory": (LOAD, "read of uninitialised shared memory"),
    "a read without barrier": (STORE + LOAD, "race: read of what another thread wrote"),
    "a write after a read": (STORE + "bar.sync 0;\n" + LOAD + STORE, "race: write after a read of another thread"),
    "a write after a write": (STORE + "st.shared.b32 [%r3], %r0;", "race: write after a write of another thread"),
    "a warp's barrier between warps": (
        "xor.b32 %r3, %r2, 128;\n" + STORE + "bar.warp.sync -1;\n" + LOAD, "race: read of what another thread wrote",
    ),
    "a write into what another warp read": (
        STORE + "bar.sync 0;\n" + READ_OF_ALL + WRITE_OF_ONE.format(32), "race: write after a read of another thread",
    ),
    "a copy without wait": (COPY + "bar.sync 0;\n" + LOAD, "read of a cp.async before its wait_group"),
    "a copy that is not the last group": (
        COPY + "cp.async.ca.shared.global [ %r2 + 256 ], [ %rd1 + 0 ], 0x4, 4;\ncp.async.commit_group;\n"
        "cp.async.wait_group 1;\nbar.sync 0;\nld.shared.b32 %r4, [%r3+256];",
        "read of a cp.async before its wait_group",
    ),
    "a copy that is not committed": (
        "cp.async.ca.shared.global [ %r2 + 0 ], [ %rd1 + 0 ], 0x4, 4;\ncp.async.wait_group 0;\nbar.sync 0;\n" + LOAD,
        "read of a cp.async before its wait_group",
    ),
    "a copy without barrier": (COPY + "cp.async.wait_group 0;\n" + LOAD, "race: read of what another thread wrote"),
    "a store into a copy": (COPY + STORE, "write where a cp.async is on its way"),
    "a copy into what is read": (
        STORE + "bar.sync 0;\n" + LOAD + COPY, "race: cp.async after a read of another thread",
    ),
    "a barrier in one branch": ("@%p1 bra $L__BB0_1;\nbar.sync 0;\n$L__BB0_1:", "never reach this barrier"),
    "a part of a warp at a barrier": ("@%p0 bra $L__BB0_1;\nbar.sync 0;\n$L__BB0_1:", "thread 5 of .* whole warp"),
    "a part of a warp in a shuffle": (
        "@%p0 bra $L__BB0_1;\nshfl.sync.bfly.b32 %r4, %r0, 1, 31, -1;\n$L__BB0_1:", "whole warp",
    ),
    "an error in one block": ("@%p2 ld.global.b32 %r4, [%rd1+4];", r"thread 63 of block \(1, 0, 0\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_reported(name: str) -> None:
    body, sentence = BROKEN[name]
    with pytest.raises(PtxError, match=rf"^kernel, PTX line \d+: .*{sentence}"):
        _run(body)


KEPT = {
    "a barrier between write and read": STORE + "bar.sync 0;\n" + LOAD + "bar.sync 0;\n" + STORE,
    "a warp's barrier inside a warp": STORE + "bar.warp.sync -1;\n" + LOAD + "bar.warp.sync -1;\n" + STORE,
    "a write into what its warp read": STORE + "bar.sync 0;\n@%p1 " + READ_OF_ALL + WRITE_OF_ONE.format(0),
    "a write into what its warp read twice": STORE
    + "bar.sync 0;\n"
    + ("@%p1 " + READ_OF_ALL + "bar.warp.sync -1;\n") * 2
    + WRITE_OF_ONE.format(0),
    "its own writes": STORE + "ld.shared.b32 %r4, [%r2];\n" + STORE,
    "the same value from all threads": "mov.b32 %r5, 3; st.shared.b32 [%r1], %r5; st.global.b32 [%rd0+4], %r5;",
    "halves of a word": "mad.lo.u32 %r5, %r0, 2, %r1; mov.b16 %rs0, 1; st.shared.b16 [%r5], %rs0;"
    "bar.sync 0; ld.shared.b16 %rs1, [%r5]; st.shared.b16 [%r5], %rs0;",
    "a copy of a masked thread": "mov.b64 %rd1, 0; selp.b32 %r4, 4, 0, %p1; mov.b32 %r4, 0;"
    "cp.async.ca.shared.global [ %r2 + 0 ], [ %rd1 + 0 ], 0x4, %r4; cp.async.wait_all; bar.sync 0;\n" + LOAD,
    "a copy that has arrived": COPY + COPY.replace("%r2 + 0", "%r2 + 256")
    + "cp.async.wait_group 1;\nbar.sync 0;\n" + LOAD,
    "a barrier of each half": "@%p1 bra $L__BB0_1;\nbar.sync 1, 32;\nbra.uni $L__BB0_2;\n$L__BB0_1:\n"
    "bar.sync 2, 32;\n$L__BB0_2:\nbar.sync 0;",
    "a barrier that halves reach apart": "@%p1 bra $L__BB0_1;\nbar.sync 0;\nbra.uni $L__BB0_2;\n$L__BB0_1:\n"
    "bar.sync 0;\n$L__BB0_2:\nshfl.sync.bfly.b32 %r4, %r0, 1, 31, -1;",
    "a guarded access": "setp.lt.u32 %p3, %r0, 63;\n@%p3 ld.global.b32 %r4, [%rd1+4];",
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_rule_is_not_reported(name: str) -> None:
    _run(KEPT[name])


def test_a_copy_fills_with_zeros_what_it_does_not_read() -> None:
    """The first warp copies nothing, so its source may lie anywhere."""
    copy = COPY.replace("0x4, 4", "0x4, %r4").replace("%rd1 + 0", "%rd2 + 0")
    body = "selp.b32 %r4, 0, 4, %p1;\nselp.b64 %rd2, 64, %rd1, %p1;\n" + copy
    body += "cp.async.wait_group 0;\nld.shared.b32 %r5, [%r2];\nst.global.b32 [%rd1], %r5;"
    assert _run(body, blocks=1).tolist() == [0] * 32 + list(range(32, 64))


def test_threads_that_part_meet_again() -> None:
    """Each thread runs a loop of its own length; then all exchange their sums."""
    body = """
        mov.b32 %r5, 0;
        mov.b32 %r6, 0;
    $L__BB0_1:
        add.s32 %r6, %r6, %r5;
        add.s32 %r5, %r5, 1;
        setp.le.u32 %p3, %r5, %r0;
        @%p3 bra $L__BB0_1;
        shfl.sync.bfly.b32 %r7, %r6, 1, 31, -1;
        st.global.b32 [%rd1], %r7;
    """
    assert _run(body).tolist() == [n * (n + 1) // 2 for n in (thread ^ 1 for thread in range(64))]


def test_blocks_of_different_length_are_apart() -> None:
    """The second block runs through one more barrier than the first; a race in it alone is seen."""
    body = "@!%p2 bra $L__BB0_1;\n{}bar.sync 0;\n{}$L__BB0_1:\nbar.sync 0;\nmov.b32 %r4, 1;"
    _run(body.format(STORE, LOAD))
    with pytest.raises(PtxError, match=r"block \(1, 0, 0\): shared memory: race"):
        _run(body.format("", STORE + LOAD))


def test_counts() -> None:
    """Two warps in each of two blocks read every value (4 sectors a warp), and every eighth value (32 sectors)."""
    counts = Counts()
    body = (
        "ld.global.b32 %r4, [%rd1];\nshl.b32 %r5, %r0, 5;\nand.b32 %r5, %r5, 992;\nadd.s32 %r5, %r5, %r1;\n"
        "st.shared.b32 [%r2], %r0;\nbar.sync 0;\nld.shared.b32 %r6, [%r2];\nld.shared.b32 %r6, [%r1];\n"
    )
    _run(body, counts=counts)
    assert (counts.global_requests, counts.sectors, counts.global_bytes) == (4, 16, 4 * 128)
    assert (counts.shared_requests, counts.wavefronts, counts.bank_conflicts) == (12, 12, 0)
    assert counts.instructions["ld.shared.b32"] == 8
    assert counts.instructions["bar.sync"] == 4

    counts = Counts()
    _run("shl.b32 %r5, %r9, 5;\nadd.s32 %r5, %r5, %r1;\nmov.b32 %r6, 1;\nst.shared.b32 [%r5], %r6;", counts=counts)
    assert (counts.wavefronts, counts.bank_conflicts) == (4 * 8, 4 * 7)  # four banks, each with eight words
