"""The choice between kernels and references for a grid, after self-tests on this machine.

All runs of a grid make the same choice, before the keys of the runs are made. A key names the operations of the run
that the reference computes although there are kernels.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from fastser_kernels import use_kernels
from fastser_kernels.choice import Mode, operations_asked
from fastser_kernels.trust.calls import Size
from fastser_kernels.trust.self_test import FAMILIES
from fastser_kernels.trust.trusted import name_of, verdicts_for
from fastser_kernels.trust.verdict import Verdict
from torch._subclasses import FakeTensorMode

from fastser.models import MODELS, STEM_STRIDES, Architecture, InputShape
from fastser.runtime.precision import Precision, logits_in
from fastser.runtime.random import seeded
from fastser.settings import Settings
from fastser.training.yardsticks import YARDSTICKS

Operations = frozenset[tuple[str, torch.dtype]]
"""Families of operations, each with the dtype of its input."""

OF_EVERY_RUN: Operations = frozenset((name, torch.float32) for name in ("gather", "linf_step", "log_spectrogram"))
"""Operations on data, and those of attacks."""

MAP_PIXELS = {"cpu": 2**13, "cuda": 2**17}
"""Pixels of the maps in a self-test at the run's own size: one segment of the paper's on a CPU, 16 on a GPU."""


@dataclass(frozen=True)
class Fallback:
    """An operation that the reference computes although there are kernels.

    Attributes:
        family: Name of the family.
        dtype: Name of the dtype of its input.
        compiled: Whether this is about compiled graphs. The rest of the program is a fallback of its own.
        reason: Why, "slower here: 1.4 ms instead of 1.1 ms".
    """

    family: str
    dtype: str
    compiled: bool
    reason: str

    @property
    def label(self) -> str:
        """Name of the operation in sentences."""
        return f"{self.family} in {self.dtype}"


@dataclass(frozen=True)
class KernelChoice:
    """Choice between the kernels and the references for the operations of a grid.

    Attributes:
        mode: "auto", "fused" or "reference". See `fastser_kernels.use_kernels`.
        fallbacks: What the reference computes after the tests of the mode "auto". None if nothing was tested: then each
            process tests for itself where it must.
    """

    mode: Mode = "auto"
    fallbacks: tuple[Fallback, ...] | None = None

    def context(self) -> AbstractContextManager[None]:
        """Return the context in which the runs compute."""
        if self.fallbacks is None:
            return use_kernels(self.mode)
        return use_kernels("fused", [(f.family, getattr(torch, f.dtype), f.compiled) for f in self.fallbacks])

    def reasons(self) -> dict[str, str] | None:
        """Return the reason for each fallback, "lstm in bfloat16" -> text, or None if nothing was tested."""
        return None if self.fallbacks is None else {f.label: f.reason for f in self.fallbacks}

    def key(self, operations: Operations) -> str:
        """Return the part of a run's key, empty if kernels compute everything.

        Args:
            operations: Operations of the run.
        """
        if self.mode == "reference":
            return "reference"
        used = {(family, name_of(dtype)) for family, dtype in operations}
        left = {(f.family, f.dtype, f.compiled) for f in self.fallbacks or () if (f.family, f.dtype) in used}
        return "".join(f" {family} {dtype}{' compiled' * compiled}" for family, dtype, compiled in sorted(left))

    @classmethod
    def after(cls, verdicts: Iterable[Verdict]) -> "KernelChoice":
        """Return the choice of the mode "auto" that follows from verdicts."""
        return cls(
            "auto",
            tuple(
                Fallback(verdict.family, verdict.dtype, compiled, reason)
                for verdict in verdicts
                for compiled in (False, True)
                if (reason := verdict.against(compiled=compiled))
            ),
        )


def kernel_verdicts(
    models: Sequence[str],
    settings: Settings,
    device: torch.device,
    folder: Path,
    on_test: Callable[[str], None] = lambda _: None,
) -> tuple[list[Verdict], bool]:
    """Test the kernels that the runs of a grid use, at their own size. Verdicts are cached.

    Args:
        models: Names of the models.
        settings: All settings, with a chosen precision.
        device: Device of the models.
        folder: Folder of the verdicts.
        on_test: Called with the name of an operation before its test.

    Returns:
        The verdicts, and whether anything was tested now.

    Raises:
        LostDeviceError: If a kernel crashed and this process must be restarted.
    """
    found = [_by_precision(MODELS[model], settings) for model in models if model not in YARDSTICKS]
    used = OF_EVERY_RUN.union(*(operations for of_model in found for operations in of_model.values()))
    in_training: Operations = frozenset()
    if device.type == "cuda":  # where the training step is a compiled graph
        in_training = in_training.union(*(of_model[settings.training.precision] for of_model in found))
    ordered = sorted(used, key=lambda pair: (pair[0], name_of(pair[1])))
    return verdicts_for(
        ordered, device, run_size(settings, device), compiled=in_training, folder=folder, on_test=on_test
    )


def operations_of(model: str, settings: Settings) -> Operations:
    """Return the operations of a run of a model, in training and in tests.

    Args:
        model: Name of a model.
        settings: All settings, with a chosen precision.
    """
    if model in YARDSTICKS:
        return OF_EVERY_RUN
    return OF_EVERY_RUN.union(*_by_precision(MODELS[model], settings).values())


@cache
def _by_precision(architecture: Architecture, settings: Settings) -> dict[str, Operations]:
    """Return the operations of a forward pass in each precision of a run. It runs on an input without values."""
    training, evaluation = settings.training.precision, settings.evaluation.precision
    assert training != "auto"
    precisions: dict[Precision, None] = dict.fromkeys((training, evaluation, "float32"))  # validation is in float32
    shape = InputShape(4, settings.spectrogram.segment_frames, settings.spectrogram.num_bins)
    found = {}
    try:
        with seeded(0, torch.device("cpu")), torch.no_grad():
            model = architecture.build(settings.model, shape).eval()
            for precision in precisions:
                with FakeTensorMode(allow_non_fake_inputs=True), operations_asked() as asked:
                    logits_in(precision, model, torch.zeros(2, shape.segment_frames, shape.num_bins))
                found[str(precision)] = frozenset(asked)
    except Exception:  # a registered model can need values, or fail: then it may use everything
        on_data = {family for family, _ in OF_EVERY_RUN}
        families = [family for family in FAMILIES if family not in on_data]
        return {name: frozenset((family, getattr(torch, name)) for family in families) for name in precisions}
    return found


def run_size(settings: Settings, device: torch.device) -> Size:
    """Return the sizes of the self-test that are those of a run."""
    spectrogram, model, batch = settings.spectrogram, settings.model, settings.training.batch_size
    frames, bins = (-(-n // STEM_STRIDES[model.stem]) for n in (spectrogram.segment_frames, spectrogram.num_bins))
    return Size(
        batch=batch,
        frames=spectrogram.segment_frames,
        bins=spectrogram.num_bins,
        n_fft=spectrogram.n_fft,
        images=min(max(MAP_PIXELS[device.type] // (frames * bins), 1), batch),
        map_frames=frames,
        map_bins=bins,
        growth_rate=model.proposed_growth_rate,
        dense_layers=model.layers_per_block,
        lstm_units=model.lstm_units,
        highway_units=model.highway_units,
        highway_layers=model.highway_layers,
    )
