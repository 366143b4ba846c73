"""A training step that is captured in a CUDA graph and then replayed, so that the host launches it in one call."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from fastser.runtime.cuda_graphs import WARM_UP_STEPS, CannotCapture, Recorder

log = logging.getLogger(__name__)

Step = Callable[..., Tensor]
"""Updates the weights with the tensors of a batch, some of which may be None, and returns its loss, detached."""


class StepGraph:
    """The step of one training for batches of one size.

    The first `WARM_UP_STEPS` batches run without a graph. The third one is captured, and each later one is replayed.
    Every batch takes exactly one step, so a training continued from a checkpoint takes the same steps. If the step
    cannot be captured, all batches run without a graph, and one warning is logged.

    Args:
        step: The step. It must not change what it computes between two batches, apart from the learning rate.
        device: CUDA device of the batches.
    """

    def __init__(self, step: Step, device: torch.device) -> None:
        self._step = step
        self._device = device
        self._recorder = Recorder(device)
        self._batches = 0
        self._capturable = True
        self._graph: torch.cuda.CUDAGraph | None = None
        self._learning_rate = 0.0
        self._inputs: tuple[Tensor | None, ...] = ()
        self._loss: Tensor

    def __call__(self, *inputs: Tensor | None, learning_rate: float) -> Tensor:
        """Take a step and return the loss of the batch. The next step overwrites it.

        Args:
            *inputs: The batch. All batches have the same shapes.
            learning_rate: Current learning rate. A graph keeps that of its capture, so another one is captured.
        """
        if not self._capturable:
            return self._step(*inputs)
        if not self._inputs:
            self._inputs = tuple(None if tensor is None else tensor.clone() for tensor in inputs)
        for kept, tensor in zip(self._inputs, inputs, strict=True):
            if kept is not None and tensor is not None:
                kept.copy_(tensor)
        self._batches += 1
        try:
            if self._batches < WARM_UP_STEPS:
                return self._recorder.warm_up(self._advance)
            if self._batches == WARM_UP_STEPS:
                return self._recorder.watch(self._advance)
            if learning_rate != self._learning_rate:
                self._graph = None  # frees its memory before the next capture
            graph = self._graph or self._capture(learning_rate)
        except CannotCapture as reason:
            log.warning("The training runs without a CUDA graph, since its step cannot be captured: %s", reason)
            self._capturable, self._graph = False, None
            return self._step(*inputs) if reason.result is None else reason.result
        graph.replay()
        return self._loss

    def _advance(self) -> Tensor:
        self._loss = self._step(*self._inputs)
        return self._loss

    def _capture(self, learning_rate: float) -> torch.cuda.CUDAGraph:
        first = self._batches == WARM_UP_STEPS + 1
        if first and not has_room(self._device):
            raise CannotCapture("the graph needs as much memory again, and the GPU does not have it")
        self._graph, self._learning_rate = self._recorder.capture(self._advance), learning_rate
        return self._graph


def has_room(device: torch.device) -> bool:
    """Return whether a second copy of the memory of this process fits on its GPU, for the tensors inside a graph.

    Batches of other sizes and the validation go on to use the memory that the process has now.
    """
    free, _ = torch.cuda.mem_get_info(device)
    return free >= torch.cuda.memory_reserved(device)
