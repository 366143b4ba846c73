"""Loops in machine code, and the messages of ptxas."""

import pytest

pytest.importorskip("triton", reason="Triton is not installed")
from assembly_log import registers, serialised, stack_and_spills
from disassembly import machine_code
from issue_slots import per_element

pytestmark = pytest.mark.fast

LOG = """ptxas info    : (C7515) Potential Performance Loss: wgmma.mma_async instructions are serialized
ptxas info    : Compiling entry function 'conv_kernel' for 'sm_90a'
    8 bytes stack frame, 16 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 8 bytes cumulative stack size
"""


def test_a_loop_reaches_from_the_target_of_a_backward_branch_to_the_branch() -> None:
    listing = ["MOV R1, R2 ;", "IADD3 R3, R3, 0x1, RZ ;", "@P0 BRA 0x110 ;", "BRA.U UP0, 0x130 ;", "EXIT ;"]
    listing += ["BRA 0x150 ;", "NOP ;", "NOP ;"]
    code = machine_code([(0x100 + 0x10 * i, text) for i, text in enumerate(listing)])
    assert code.instructions == 6
    assert code.loops == (2,)
    assert machine_code([(0x20, "NOP ;"), (0x30, "BRA 0x30 ;")]).loops == ()


def test_instructions_per_element() -> None:
    constants = {"BM": 128, "BK": 32, "GP": 16}
    assert per_element("conv_kernel", constants, threads=256, loop=251) == 15.7
    tile = {"BP": 128, "BC": 64, "BK": 32, "DEPTH": 160}
    assert per_element("input_gradient_kernel", tile, threads=256, loop=153) == 23.9
    assert per_element("layer_kernel", constants, threads=128, loop=9) is None


def test_messages_of_ptxas() -> None:
    assert registers(LOG) == 168
    assert stack_and_spills(LOG) == (8, 36)
    assert serialised(LOG)
    assert not serialised(LOG.partition("\n")[2])
