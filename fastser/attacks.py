"""Adversarial attacks on a classifier: `attack = BIM(model, eps, alpha, steps); adversarial = attack(x, y)`.

Untargeted, against the true label, L-infinity, no random start, in the units of the model's input (paper 5.3).
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain

import torch
import torch.nn.functional as F
from fastser_kernels import linf_step
from torch import Tensor, nn

Step = Callable[[Tensor, Tensor, Tensor], None]
"""Moves adversarial inputs in place, given the clean ones and the labels."""

WARM_UP_STEPS = 2
"""Steps of the first attack on a batch of some kind that are run before its graph is captured."""

MAX_GRAPHS = 8
"""Kinds of batch for which an attack keeps a graph; beyond it the one not used for longest is dropped."""


@dataclass(frozen=True)
class BIM:
    """Basic iterative method (Kurakin et al. 2017): sign steps on the cross-entropy, each projected to the eps-ball.

    The model runs in eval mode and computes no weight gradient; its `training` flags, `requires_grad` and `.grad` are
    afterwards as they were.

    On a GPU, forward pass, input gradient and step are captured in one CUDA graph, which is then replayed: the host
    neither launches single kernels nor waits for the GPU. There is one graph for each shape, layout and dtype of a
    batch, captured at the first attack on it; all share one memory pool, which is freed with the attack object. A graph
    reads parameters and buffers where they lie: training on in place is seen, and where they have moved (`model.to`,
    `load_state_dict(assign=True)`), graphs are captured anew. Everything else that the model does in Python (hooks,
    branches, attributes that are no buffers) is as it was at capture. A model that waits for the GPU itself, as a
    branch on values does, cannot be captured: it is attacked step by step, and a warning says so. So is any model in
    at most two steps. One object attacks one batch at a time.

    Attributes:
        model: Differentiable, `[N, ...] -> [N, classes]` logits; samples must not influence each other in eval mode.
        eps: Largest change of one input value.
        alpha: Step size.
        steps: Number of steps.
        bounds: Smallest and largest value an input may take, or None.

    Raises:
        ValueError: If eps or alpha is negative, steps below 1, or bounds empty.
    """

    model: nn.Module
    eps: float
    alpha: float
    steps: int
    bounds: tuple[float, float] | None = None
    _graphs: "_StepGraphs" = field(default_factory=lambda: _StepGraphs(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.eps < 0 or self.alpha < 0:
            raise ValueError(f"eps and alpha must not be negative, got {self.eps} and {self.alpha}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.bounds is not None and self.bounds[0] >= self.bounds[1]:
            raise ValueError(f"bounds must be (low, high) with low < high, got {self.bounds}")

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Attack a batch.

        Args:
            x: Clean inputs `[N, ...]`, floating point; not changed.
            y: True labels, int64 `[N]`.

        Returns:
            Adversarial inputs of the shape, dtype and device of `x`, detached.
        """
        x = x.detach()
        with _frozen_in_eval_mode(self.model), torch.enable_grad():
            if self.steps > WARM_UP_STEPS and _on_gpu(x) and not self._graphs.uncapturable:
                return self._graphs.attack(self._step, self.steps, self.model, x, y)
            adversarial = x.clone()
            for _ in range(self.steps):
                self._step(adversarial, x, y)
        return adversarial

    def _step(self, adversarial: Tensor, clean: Tensor, labels: Tensor) -> None:
        leaf = adversarial.detach().requires_grad_()
        loss = F.cross_entropy(self.model(leaf), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        linf_step(adversarial, clean, gradient, self.alpha, self.eps, self.bounds)


class FGSM(BIM):
    """Fast gradient sign method (Goodfellow et al. 2015): one step of size eps. See `BIM`.

    Args:
        model: As for `BIM`.
        eps: As for `BIM`.
        bounds: As for `BIM`.
    """

    def __init__(self, model: nn.Module, eps: float, bounds: tuple[float, float] | None = None) -> None:
        super().__init__(model, eps, alpha=eps, steps=1, bounds=bounds)


@contextmanager
def _frozen_in_eval_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in trained:
            parameter.requires_grad_()


class _StepGraphs:
    """The graphs of one attack's step by kind of batch, for a model whose tensors lie at certain addresses."""

    def __init__(self) -> None:
        self.uncapturable = False
        self.addresses: object = None
        self.recorder: _Recorder
        self.by_kind: dict[object, tuple[torch.cuda.CUDAGraph, tuple[Tensor, Tensor, Tensor]]] = {}

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _StepGraphs, ()  # a copy of an attack captures its own

    def attack(self, step: Step, steps: int, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """What the loop of `BIM.__call__` returns, by replaying the graph for this kind of batch."""
        addresses = x.device, [(t.data_ptr(), _kind(t)) for t in chain(model.parameters(), model.buffers())]
        if addresses != self.addresses:
            self.addresses, self.by_kind, self.recorder = addresses, {}, _Recorder(x.device)
        kind = _kind(x), _kind(y), torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        if kind not in self.by_kind:
            return self._first_attack(kind, step, steps, x, y)
        graph, tensors = self.by_kind[kind] = self.by_kind.pop(kind)
        for target, source in zip(tensors, (x, x, y), strict=True):
            target.copy_(source)
        for _ in range(steps):
            graph.replay()
        return tensors[0].clone()

    def _first_attack(self, kind: object, step: Step, steps: int, x: Tensor, y: Tensor) -> Tensor:
        tensors = x.clone(), x.clone(), y.clone()
        advance: Callable[[], None] = partial(step, *tensors)
        recorded = self.recorder.record(advance)
        if isinstance(recorded, str):
            self.uncapturable = True
            warnings.warn(f"BIM runs without a CUDA graph, since its step cannot be captured: {recorded}", stacklevel=4)
        else:
            self.by_kind[kind] = recorded, tensors
            if len(self.by_kind) > MAX_GRAPHS:
                del self.by_kind[next(iter(self.by_kind))]
            advance = recorded.replay
        for _ in range(steps - WARM_UP_STEPS):
            advance()
        return tensors[0].clone()


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """Where all attacks warm up and capture: libraries keep a workspace for every stream that they have seen."""
    return torch.cuda.Stream(device)


class _Recorder:
    """Captures graphs that share one memory pool, as they never run at once."""

    def __init__(self, device: torch.device) -> None:
        self.stream = _side_stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def record(self, step: Callable[[], None]) -> torch.cuda.CUDAGraph | str:
        """Run WARM_UP_STEPS steps, then capture one without running it; or say why it cannot be captured.

        What makes the host wait is found before the capture, which it would break beyond repair.
        """
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        refusal = None
        with torch.cuda.stream(self.stream):
            step()
            try:
                with _waiting_is_an_error():
                    step()
            except RuntimeError as error:
                if "synchronizing" not in str(error):
                    raise
                refusal = str(error)
                step()
        current.wait_stream(self.stream)
        return refusal or self._capture(step)

    def _capture(self, step: Callable[[], None]) -> torch.cuda.CUDAGraph | str:
        graph, failure = torch.cuda.CUDAGraph(), None
        try:
            with torch.cuda.stream(self.stream), torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                try:
                    step()
                except RuntimeError as error:
                    failure = error
        except RuntimeError as error:
            error.add_note("while fastser.attacks.BIM captured the model's step in a CUDA graph")
            raise error from failure
        return graph if failure is None else str(failure)


@contextmanager
def _waiting_is_an_error() -> Iterator[None]:
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)


def _on_gpu(x: Tensor) -> bool:
    """Whether graphs can be replayed here: not while the caller captures one of its own."""
    return x.is_cuda and not torch.cuda.is_current_stream_capturing()


def _kind(tensor: Tensor) -> object:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device
