"""Capture of CUDA graphs, and the graphs of an iterative attack, one for each kind of batch."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import chain
from typing import Any, TypeVar
from unittest.mock import patch

import torch
from fastser_kernels.fallback_warning import FallbackWarning
from torch import Tensor, nn

Step = Callable[[Tensor, Tensor, Tensor], None]
"""Function of adversarial inputs, clean inputs and labels that updates the adversarial inputs in place."""

Result = TypeVar("Result")

WARM_UP_STEPS = 2
"""Steps that run before a graph is captured. The first one compiles and loads kernels, the second one is watched."""

MAX_GRAPHS = 8
"""Number of graphs that an attack keeps. The least recently used one is dropped first."""


class CannotCapture(Exception):  # noqa: N818 - a signal to the caller, like StopIteration
    """A step that cannot be captured in a CUDA graph. The message is the reason.

    Attributes:
        result: Result of the step if it has run.
    """

    def __init__(self, reason: str, result: Any = None) -> None:
        super().__init__(reason)
        self.result = result


class StepGraphs:
    """CUDA graphs of the step of one attack, by kind of batch (shapes, layouts and dtypes).

    The graphs are valid for the current addresses of the model's tensors. A copy of this object starts without graphs.

    Attributes:
        uncapturable: Whether an attempt to capture the step has failed.
    """

    def __init__(self) -> None:
        self.uncapturable = False
        self._addresses: object = None
        self._recorder: Recorder
        self._by_kind: dict[object, tuple[torch.cuda.CUDAGraph, tuple[Tensor, Tensor, Tensor]]] = {}

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return StepGraphs, ()

    def __len__(self) -> int:
        return len(self._by_kind)

    def attack(self, step: Step, steps: int, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Run `steps` steps from a batch by replaying the graph of its kind.

        Args:
            step: Step of the attack. It must be the same in all calls.
            steps: Number of steps, more than `WARM_UP_STEPS`.
            model: Model that `step` runs.
            x: Clean inputs `[N, ...]` for which `replayable` is true.
            y: True labels, int64 `[N]`.

        Returns:
            Adversarial inputs with the shape, dtype and device of `x`.

        Warns:
            FallbackWarning: If the step cannot be captured. All steps then run without a graph.
        """
        addresses = x.device, [(t.data_ptr(), _kind(t)) for t in chain(model.parameters(), model.buffers())]
        if addresses != self._addresses:
            self._addresses, self._by_kind, self._recorder = addresses, {}, Recorder(x.device)
        kind = _kind(x), _kind(y), torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        if kind not in self._by_kind:
            return self._first_attack(kind, step, steps, x, y)
        graph, tensors = self._by_kind[kind] = self._by_kind.pop(kind)
        for target, source in zip(tensors, (x, x, y), strict=True):
            target.copy_(source)
        for _ in range(steps):
            graph.replay()
        return tensors[0].clone()

    def _first_attack(self, kind: object, step: Step, steps: int, x: Tensor, y: Tensor) -> Tensor:
        tensors = x.clone(), x.clone(), y.clone()
        advance: Callable[[], None] = partial(step, *tensors)
        try:
            graph = self._recorder.record(advance)
        except CannotCapture as reason:
            self.uncapturable = True
            said = f"BIM runs without a CUDA graph, since its step cannot be captured: {reason}"
            warnings.warn(said, FallbackWarning, stacklevel=4)
        else:
            self._by_kind[kind] = graph, tensors
            if len(self._by_kind) > MAX_GRAPHS:
                del self._by_kind[next(iter(self._by_kind))]
            advance = graph.replay
        for _ in range(steps - WARM_UP_STEPS):
            advance()
        return tensors[0].clone()


class Recorder:
    """Capture of graphs that share one memory pool, which is safe because they never run at the same time."""

    def __init__(self, device: torch.device) -> None:
        self._stream = side_stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, step: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """Run `WARM_UP_STEPS` steps, then capture one step without running it.

        Raises:
            CannotCapture: If the step waits or cannot be captured. The warm-up steps have run nevertheless.
        """
        self.warm_up(step)
        self.watch(step)
        return self.capture(step)

    def warm_up(self, step: Callable[[], Result]) -> Result:
        """Run a step on the stream of the captures."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                return step()
        finally:
            current.wait_stream(self._stream)

    def watch(self, step: Callable[[], Result]) -> Result:
        """Run a step as `warm_up` does, and detect whether it makes the host wait for the GPU.

        Waiting would invalidate a capture, and an invalid capture leaves memory behind.

        Raises:
            CannotCapture: If the step waits. It has run nevertheless.
        """
        with noted_waits() as waits:
            result = self.warm_up(step)
        if waits:
            raise CannotCapture(waits[0], result)
        return result

    def capture(self, step: Callable[[], object]) -> torch.cuda.CUDAGraph:
        """Capture a step without running it.

        Raises:
            CannotCapture: If the step cannot be captured.
        """
        graph, failure = torch.cuda.CUDAGraph(), None
        try:
            with torch.cuda.stream(self._stream), torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                try:
                    step()
                except RuntimeError as error:
                    failure = error
        except RuntimeError as error:  # the end of a capture fails too if the step has made it invalid
            raise CannotCapture(str(failure or error)) from (failure or error)
        if failure is not None:
            raise CannotCapture(str(failure)) from failure
        return graph


@cache
def side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream on which all attacks warm up and capture.

    There is one per device, because libraries such as cuBLAS keep a workspace for every stream.
    """
    return torch.cuda.Stream(device)


@contextmanager
def noted_waits() -> Iterator[list[str]]:
    """List the calls in a `with` block that make the host wait for the GPU.

    PyTorch's debug mode warns of all of them but `torch.cuda.synchronize` and `torch.cuda.Event.synchronize`.
    """
    waits: list[str] = []
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with (
            patch.object(torch.cuda, "synchronize", _noting("torch.cuda.synchronize", torch.cuda.synchronize, waits)),
            patch.object(
                torch.cuda.Event,
                "synchronize",
                _noting("torch.cuda.Event.synchronize", torch.cuda.Event.synchronize, waits),
            ),
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter("always")
            yield waits
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    for warning in caught:
        if "synchronizing CUDA operation" in str(warning.message):
            waits.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _noting(name: str, wait: Callable[..., None], waits: list[str]) -> Callable[..., None]:
    """Return a function that calls `wait` and adds a sentence with its name to the list."""

    def noted(*args: Any, **kwargs: Any) -> None:
        waits.append(f"it calls {name}")
        wait(*args, **kwargs)

    return noted


def replayable(x: Tensor) -> bool:
    """Return whether graphs can be replayed: `x` is on a GPU, and the caller does not capture a graph of its own."""
    return x.is_cuda and not torch.cuda.is_current_stream_capturing()


def _kind(tensor: Tensor) -> object:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device
