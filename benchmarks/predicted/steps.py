"""Work of the steps of the five models: a training step, a forward pass in a test, a step of an iterative attack."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.eager_models import eager_model
from benchmarks.predicted.chips import Chip
from benchmarks.predicted.record import cudnn_lstm_work, operation_work, work_of
from benchmarks.predicted.work import Work, total_seconds
from fastser.attacks import FGSM
from fastser.evaluation.inference import BATCH_SIZE
from fastser.layers import LSTM
from fastser.models import build_model
from fastser.settings import SCALES, Settings
from fastser.training.loss import batch_loss

Kind = Literal["training", "forward", "attack"]
KINDS: dict[Kind, str] = {
    "training": "training step, bfloat16",
    "forward": "forward pass of a test, float32",
    "attack": "step of BIM, float32",
}
"""Kinds of steps, with their titles."""

GRAPHED: frozenset[Kind] = frozenset({"training", "attack"})
"""Kinds of steps that fastser replays from a CUDA graph, so that the host does not hold them up."""

Provider = Literal["fastser", "eager"]

ADAM_BYTES, ADAM_TENSORS = 28, 36
"""Bytes that Adam moves for a parameter (parameter, gradient and two moments read, all but the gradient written), and
the tensors of one launch."""

BANK_FRAMES = 1_000_000
"""Frames of the bank that batches are cut from. The work does not depend on it."""


@dataclass(frozen=True)
class Step:
    """One kind of step of one model on one batch.

    Attributes:
        scale: Name of the scale, "paper" or "quick".
        model: Name of the model.
        kind: Kind of the step.
        provider: fastser as the main job runs it, or eager PyTorch with the same architecture.
    """

    scale: str
    model: str
    kind: Kind
    provider: Provider

    @property
    def batch(self) -> int:
        """Number of segments."""
        return SCALES[self.scale].training.batch_size if self.kind == "training" else BATCH_SIZE

    def seconds(self, chip: Chip) -> float:
        """Return the predicted seconds."""
        in_graph = self.provider == "fastser" and self.kind in GRAPHED
        return total_seconds(self.works(), chip, in_graph=in_graph)

    def works(self) -> tuple[Work, ...]:
        """Return the work of all kernels of the step."""
        return _works(self)


@cache
def _works(step: Step) -> tuple[Work, ...]:
    settings, fused = SCALES[step.scale], step.provider == "fastser"
    segment = settings.spectrogram.segment_frames, settings.spectrogram.num_bins
    model = build_model(step.model, settings=settings.model, segment_frames=segment[0], num_bins=segment[1])
    if not fused:
        model = _eager_but_lstm(model)
    run = _CALLS[step.kind] if fused or step.kind != "attack" else _eager_attack
    model.train(step.kind == "training")
    operations = operation_work if fused else cudnn_lstm_work
    works = work_of(lambda: run(model, torch.empty(step.batch, *segment)), operations)
    return (*_batch_work(step, settings), *works, *(_adam_work(model) if step.kind == "training" else ()))


def _train(model: nn.Module, x: Tensor) -> None:
    labels = torch.zeros(len(x), dtype=torch.int64)
    loss = batch_loss(model, x, labels, labels, torch.empty(len(x)), "bfloat16")
    torch.autograd.grad(loss, list(model.parameters()))


def _forward(model: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        F.softmax(model(x), dim=1)


def _attack(model: nn.Module, x: Tensor) -> None:
    FGSM(model, eps=0.1)(x, torch.zeros(len(x), dtype=torch.int64))  # a step of BIM computes the same


def _eager_attack(model: nn.Module, x: Tensor) -> None:
    leaf = x.detach().requires_grad_()
    labels = torch.zeros(len(x), dtype=torch.int64)
    (slope,) = torch.autograd.grad(F.cross_entropy(model(leaf), labels, reduction="sum"), leaf)
    moved = x + 0.1 * slope.sign()
    torch.clamp(x + torch.clamp(moved - x, -0.1, 0.1), -1.0, 1.0)


_CALLS: dict[Kind, Callable[[nn.Module, Tensor], None]] = {"training": _train, "forward": _forward, "attack": _attack}


def _eager_but_lstm(model: nn.Module) -> nn.Module:
    """Return plain PyTorch modules, but fastser's LSTM, whose recurrence is one operation that can be replaced."""
    eager = eager_model(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, LSTM):
            eager.set_submodule(name, copy.deepcopy(module))
    return eager


def _batch_work(step: Step, settings: Settings) -> list[Work]:
    """Return the work of cutting a batch from the bank, mixed in training. The steps of an attack share one batch."""
    frames, bins = settings.spectrogram.segment_frames, settings.spectrogram.num_bins
    values = step.batch * frames * bins
    if step.kind == "attack":
        return []
    if step.provider == "eager":  # indices, one or two windows, normalised and mixed, one operation after another
        moved, operations = (9, 5) if step.kind == "training" else (4, 2)
        return [Work("index and normalise", 4.0 * values * moved / operations) for _ in range(operations)]
    bank, place = (
        torch.empty(BANK_FRAMES, bins, device="meta"),
        torch.empty(step.batch, dtype=torch.int64, device="meta"),
    )
    if step.kind == "training":
        lam = torch.empty(step.batch, device="meta")
        return operation_work("gather_mixup", (bank, *[place] * 4, lam, -40.0, 15.0, None, frames))
    return operation_work("gather_segments", (bank, place, place, -40.0, 15.0, None, frames))


def spectrogram_work(batch: int, *, noisy: bool) -> list[Work]:
    """Return the work of making a batch of segments from waveforms at the paper's scale, as tests in noise do."""
    settings = SCALES["paper"].spectrogram
    samples = batch * settings.segment_frames * settings.hop_length
    waveforms, window = torch.empty(samples, device="meta"), torch.empty(settings.win_length, device="meta")
    place = torch.empty(batch, dtype=torch.int64, device="meta")
    noise = (waveforms, place, torch.empty(batch, device="meta")) if noisy else (None, None, None)
    sizes = settings.hop_length, settings.n_fft, settings.num_bins, settings.segment_frames, settings.power_floor
    return operation_work("log_spectrogram", (waveforms, place, place, window, None, *noise, *sizes, -40.0, 15.0))


def _adam_work(model: nn.Module) -> list[Work]:
    parameters = [parameter.numel() for parameter in model.parameters()]
    return [Work("fused_adam", float(ADAM_BYTES * sum(parameters)), launches=-(-len(parameters) // ADAM_TENSORS))]
