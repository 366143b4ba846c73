"""The CUDA graphs of an iterative attack's step: captured at the first batch of a kind, replayed from then on."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import chain

import torch
from torch import Tensor, nn

Step = Callable[[Tensor, Tensor, Tensor], None]
"""Moves adversarial inputs in place, given the clean ones and the labels."""

WARM_UP_STEPS = 2
"""Steps of the first attack on a batch of some kind that are run before its graph is captured."""

MAX_GRAPHS = 8
"""Kinds of batch for which an attack keeps a graph; beyond it the one not used for longest is dropped."""


class CannotCapture(Exception):  # noqa: N818 - says what is the case, as StopIteration does
    """A step that cannot be captured in a CUDA graph; the message says why."""


class StepGraphs:
    """The graphs of one attack's step by kind of batch, for a model whose tensors lie at certain addresses.

    A copy has none and captures its own.

    Attributes:
        uncapturable: Whether the step was found to be one that cannot be captured.
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
        """Take `steps` steps from a batch, by replaying the graph for its kind.

        Args:
            step: Always the same for one object.
            steps: More than WARM_UP_STEPS.
            model: What `step` runs.
            x: Clean inputs `[N, ...]` on a GPU where graphs are `replayable`.
            y: True labels, int64 `[N]`.

        Returns:
            Adversarial inputs.

        Warns:
            UserWarning: If the step cannot be captured. It is then run `steps` times.
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
            warnings.warn(f"BIM runs without a CUDA graph, since its step cannot be captured: {reason}", stacklevel=4)
        else:
            self._by_kind[kind] = graph, tensors
            if len(self._by_kind) > MAX_GRAPHS:
                del self._by_kind[next(iter(self._by_kind))]
            advance = graph.replay
        for _ in range(steps - WARM_UP_STEPS):
            advance()
        return tensors[0].clone()


class Recorder:
    """Captures graphs that share one memory pool, as they never run at once."""

    def __init__(self, device: torch.device) -> None:
        self._stream = side_stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, step: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """Run WARM_UP_STEPS steps, then capture one without running it.

        What makes the host wait is found before the capture, which it would break beyond repair.

        Raises:
            CannotCapture: If it waits or cannot be captured otherwise; the first steps have been run all the same.
        """
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        refusal = None
        with torch.cuda.stream(self._stream):
            step()
            try:
                with waiting_is_an_error():
                    step()
            except RuntimeError as error:
                if "synchronizing" not in str(error):
                    raise
                refusal = error
                step()
        current.wait_stream(self._stream)
        if refusal is not None:
            raise CannotCapture(str(refusal)) from refusal
        return self._capture(step)

    def _capture(self, step: Callable[[], None]) -> torch.cuda.CUDAGraph:
        graph, failure = torch.cuda.CUDAGraph(), None
        try:
            with torch.cuda.stream(self._stream), torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                try:
                    step()
                except RuntimeError as error:
                    failure = error
        except RuntimeError as error:
            error.add_note("while fastser.attacks.BIM captured the model's step in a CUDA graph")
            raise error from failure
        if failure is not None:
            raise CannotCapture(str(failure)) from failure
        return graph


@cache
def side_stream(device: torch.device) -> torch.cuda.Stream:
    """Where all attacks warm up and capture: libraries keep a workspace for every stream that they have seen."""
    return torch.cuda.Stream(device)


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    """Have a wait of the host for the GPU raise RuntimeError."""
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)


def replayable(x: Tensor) -> bool:
    """Whether graphs on `x` can be replayed here: on a GPU, but not while the caller captures a graph of its own."""
    return x.is_cuda and not torch.cuda.is_current_stream_capturing()


def _kind(tensor: Tensor) -> object:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device
