"""Stage "self-tests": each family of operations against float64, and its time beside the reference's.

These are the tests of `fastser_kernels.trust`, without their cache.
"""

from pathlib import Path

import torch
from fastser_kernels.trust.calls import SMALL, real_size
from fastser_kernels.trust.self_test import FAMILIES, self_test

from benchmarks.first_gpu.rows import Row, append

FLOAT32_ONLY = ("linf_step", "log_spectrogram")
"""Families whose input is float32 in every run of the main job."""


def run_self_tests(folder: Path, device: torch.device) -> None:
    """Test every family in the dtypes of the main job. On a CPU the sizes are small."""
    size = real_size(device) if device.type == "cuda" else SMALL
    device = torch.empty(0, device=device).device  # with the number of the GPU
    for family in FAMILIES:
        for dtype in (torch.float32, torch.bfloat16):
            if dtype == torch.bfloat16 and family in FLOAT32_ONLY:
                continue
            title = f"self-test of {family}, {str(dtype).removeprefix('torch.')}"
            verdict = self_test(family, dtype, device, size)
            if verdict is None or verdict.fault:
                fault = "memory was full, or the reference failed" if verdict is None else verdict.fault
                append(folder, Row("self-tests", title, "fastser", None, fault=fault))
            else:
                append(folder, Row("self-tests", title, "eager", verdict.reference_ms / 1000))
                append(folder, Row("self-tests", title, "fastser", verdict.fused_ms / 1000))
