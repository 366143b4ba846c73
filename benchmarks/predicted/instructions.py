"""Instructions and products of compiled kernels on sm_90, as the ahead-of-time tests have recorded them.

They record the longest loop only. So a loop inside it counts as one iteration, which is too few for an LSTM whose
weights do not fit into shared memory.
"""

import importlib
import json
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from fastser_kernels.launch import Launch

from benchmarks.predicted.chips import Products

TESTS = Path(__file__).parents[2] / "tests" / "kernels"
TARGET = "sm_90"
"""Chip whose binaries are counted. The counts of other chips differ by a few per cent where no product is involved."""


@dataclass(frozen=True)
class Code:
    """The compiled code of one kernel.

    Attributes:
        instructions: Instructions of the whole kernel.
        loop: Instructions of its longest loop, 0 without one.
        products: FLOPs of one iteration, by kind of arithmetic.
    """

    instructions: int
    loop: int
    products: dict[Products, float]

    def executed(self, iterations: int) -> float:
        """Return the instructions that one warp executes. Loops inside the longest one count as one iteration."""
        return self.instructions - self.loop + self.loop * iterations


@cache
def code_of(launch_key: Any) -> Code | None:
    """Return the code of a specialisation, or None if the tests do not compile it."""
    row = _labels().get(launch_key)
    resources = _resources().get(row, {}).get(TARGET) if row else None
    if resources is None:
        return None
    return Code(resources["instructions"], resources["loop_instructions"], _products(resources["products"]))


def specialisation(launch: Launch) -> Any:
    """Return the key of a launch for `code_of`: what Triton compiles for it."""
    return _ahead_of_time().specialise(launch)


def _products(text: str) -> dict[Products, float]:
    """Return FLOPs by kind of arithmetic from the products of a program, such as "128x32x32 bf16"."""
    flops: dict[Products, float] = {}
    for m, n, k, dtype in re.findall(r"(\d+)x(\d+)x(\d+) (\w+)", text):
        kind: Products = "tf32" if dtype == "f32" else "bf16"
        flops[kind] = flops.get(kind, 0.0) + 2.0 * int(m) * int(n) * int(k)
    return flops


@cache
def _resources() -> dict[str, dict[str, dict[str, Any]]]:
    kernels: dict[str, dict[str, dict[str, Any]]] = json.loads((TESTS / "resources.json").read_text())["kernels"]
    return kernels


@cache
def _labels() -> dict[Any, str]:
    tests = _ahead_of_time()
    return {key: tests.label(key, name) for key, name in tests.specialisations().items()}


@cache
def _ahead_of_time() -> ModuleType:
    """Import the module of the ahead-of-time tests, which belongs to no package."""
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    return importlib.import_module("ahead_of_time")
