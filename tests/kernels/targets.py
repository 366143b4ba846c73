"""The GPUs for which kernels are compiled ahead of time, with the sizes that researchers' models of them have."""

from dataclasses import dataclass

from fastser_kernels.chips import Chip
from triton.backends.compiler import GPUTarget


@dataclass(frozen=True)
class Target:
    """A GPU to compile for.

    Attributes:
        chip: The GPU.
        whole: Whether every launch is compiled for it, and the machine code is read. For another chip, the launches
            that ask for most are compiled, and must fit.
    """

    chip: Chip
    whole: bool

    @property
    def triton(self) -> GPUTarget:
        """Return the target in Triton's terms."""
        architecture = self.chip.architecture
        if self.chip.on_amd:
            return GPUTarget("hip", architecture, self.chip.warp_size)
        return GPUTarget("cuda", int(architecture[3:]), self.chip.warp_size)


_TARGETS = (
    Target(Chip("sm_80", 108, 163 * 1024, 32), whole=True),  # A100
    Target(Chip("sm_86", 82, 99 * 1024, 32), whole=False),  # RTX 3090; A6000, A40
    Target(Chip("sm_89", 128, 99 * 1024, 32), whole=False),  # RTX 4090; L40S
    Target(Chip("sm_90", 132, 227 * 1024, 32), whole=True),  # H100, H200
    Target(Chip("sm_100", 148, 227 * 1024, 32), whole=True),  # B200
    Target(Chip("sm_120", 170, 99 * 1024, 32), whole=False),  # RTX 5090
    Target(Chip("gfx942", 304, 64 * 1024, 64), whole=True),  # MI300X
    Target(Chip("gfx1100", 48, 64 * 1024, 32), whole=False),  # RX 7900 XTX
)
TARGETS = {target.chip.architecture: target for target in _TARGETS}
"""Targets by architecture. The sizes are those of the model that the comment names first."""
