"""Registration, the choice between operations and references, and the import without Triton."""

import copy
import importlib
import inspect
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from accuracy import assert_accurate
from fastser_kernels import gather_segments, highway, reference_kernels, reference_kernels_active, registration
from fastser_kernels.constant import constant_when_compiled
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from fastser.layers import LSTM, DenseBlock, Transition


@pytest.mark.fast
def test_import_needs_no_triton_and_loads_none() -> None:
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import torch, fastser_kernels, fastser.layers\n"
        "block = fastser.layers.DenseBlock(4, 2, 2)\n"
        "block(torch.randn(2, 4, 5, 6)).sum().backward()\n"
        "assert not [name for name in sys.modules if name.endswith('kernels') and name != 'fastser_kernels']\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.fast
@pytest.mark.parametrize("name", registration.OPERATIONS)
def test_a_triton_launcher_has_the_signature_of_its_operation(name: str) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    operation = registration.OPERATIONS[name]
    registration.check_signature(name, operation.launcher(), operation.signature)
    schema = getattr(torch.ops.fastser_kernels, name).default._schema
    assert [argument.name for argument in schema.arguments] == list(operation.signature.parameters)


def _fake(x: Tensor, number: int) -> Tensor:
    return torch.empty_like(x)


def _swapped(number: int, x: Tensor) -> Tensor:
    return x


def _renamed(x: Tensor, count: int) -> Tensor:
    return x


def _longer(x: Tensor, number: int, eps: float) -> Tensor:
    return x


def _of_other_types(x: Tensor, number: float) -> Tensor:
    return x


@pytest.mark.fast
@pytest.mark.parametrize("cpu", [_swapped, _renamed, _longer, _of_other_types])
def test_a_cpu_implementation_with_another_signature_is_refused(cpu: Callable[..., Tensor]) -> None:
    with pytest.raises(TypeError, match=r"CPU implementation of wrong has the signature .*, the operation has \(x: .*"):
        registration.operation("wrong", cpu=cpu, triton="nowhere:nothing")(_fake)
    assert "wrong" not in registration.OPERATIONS
    registration.check_signature("this", _fake, inspect.signature(_fake))


@pytest.mark.fast
def test_a_block_of_references_restores_the_choice_before_it() -> None:
    assert not reference_kernels_active()
    with reference_kernels():
        assert reference_kernels_active()
        with reference_kernels():
            assert reference_kernels_active()
        assert reference_kernels_active()
        with pytest.raises(KeyError, match="inside"), reference_kernels():
            raise KeyError("inside")
        assert reference_kernels_active()
    assert not reference_kernels_active()
    with pytest.raises(KeyError, match="inside"), reference_kernels():
        raise KeyError("inside")
    assert not reference_kernels_active()


@pytest.mark.fast
def test_a_block_of_references_holds_for_its_own_thread() -> None:
    with ThreadPoolExecutor(1) as pool, reference_kernels():
        assert pool.submit(reference_kernels_active).result() is False

        def own_block() -> bool:
            with reference_kernels():
                return reference_kernels_active()

        assert pool.submit(own_block).result() is True
        assert pool.submit(reference_kernels_active).result() is False


def test_compiled_functions_follow_the_choice_and_are_compiled_once_for_each() -> None:
    frames, place, length = torch.randn(8, 3), torch.tensor([1, 2]), torch.tensor([4, 3])
    graphs: list[list[str]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        graphs.append([str(node.target) for node in graph.graph.nodes])
        return graph.forward

    torch._dynamo.reset()
    function = torch.compile(gather_segments, fullgraph=True, backend=backend)
    expected = gather_segments(frames, place, length, 0.5, 2.0, 5)
    for _ in range(3):
        torch.testing.assert_close(function(frames, place, length, 0.5, 2.0, 5), expected)
        with reference_kernels():
            torch.testing.assert_close(function(frames, place, length, 0.5, 2.0, 5), expected)
    assert [any("fastser_kernels" in target for target in targets) for targets in graphs] == [True, False]


def test_a_gpu_without_triton_gets_the_reference_and_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "find_spec", lambda _: None)
    registration._triton_installed.cache_clear()
    try:
        with FakeTensorMode(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            x, weight, bias = (torch.empty(s, device="cuda") for s in ([3, 4], [4, 4], [4]))
            for _ in range(2):
                y = highway(x, [weight], [bias], [weight], [bias])
        assert y.device.type == "cuda"
        (warning,) = [w for w in caught if "Triton is not installed" in str(w.message)]
        assert warning.filename == __file__
    finally:
        registration._triton_installed.cache_clear()


def test_the_search_for_triton_is_compiled_without_a_warning() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.warn_once_cache.clear()

    def shifted(x: Tensor) -> Tensor:
        return x + 1 if registration._has_triton() else x - 1

    x = torch.zeros(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(torch.compile(shifted, fullgraph=True, backend="eager")(x), shifted(x))


@pytest.mark.skipif(registration.INTERPRETED, reason="this process interprets kernels on CPU tensors")
def test_which_tensors_the_operations_take() -> None:
    with FakeTensorMode():
        on_gpu = torch.empty(2, device="cuda")
        assert registration.has_kernel("lstm", on_gpu) == (registration.find_spec("triton") is not None)
        assert not registration.has_kernel("lstm", on_gpu.double())
        assert registration.has_kernel("lstm", torch.empty(2, dtype=torch.float64))
        assert not registration.has_kernel("lstm", torch.empty(2, device="meta"))


@pytest.mark.skipif(registration.INTERPRETED, reason="this process interprets kernels on CPU tensors")
@pytest.mark.parametrize(
    ("family", "make", "shape"),
    [
        ("dense_block", lambda: DenseBlock(64, 16, 2), (2, 64, 106, 106)),
        ("lstm", lambda: LSTM(4, 5), (3, 6, 4)),
        ("transition", lambda: Transition(64, 2), (8, 64, 128, 128)),
    ],
    ids=["dense_block", "lstm", "transition"],
)
def test_the_default_on_a_cpu_equals_the_reference(
    family: str, make: Callable[[], nn.Module], shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compare in float32, without the reference."""
    module = make()
    op = importlib.import_module(f"fastser_kernels.{family}.op")
    for norm in (part for part in module.modules() if isinstance(part, nn.BatchNorm2d)):
        nn.init.constant_(norm.weight, 0.5)  # with these shifts, no input of a ReLU is near zero
        norm.bias.data = torch.tensor([3.0, -3.0]).repeat(norm.num_features)[: norm.num_features]
    values = torch.randn(shape)
    if values.dim() == 4:  # the layout of all maps in the models
        values = values.contiguous(memory_format=torch.channels_last)

    def results(run: nn.Module, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        x = values.to(dtype).requires_grad_()
        y = run(x)
        cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        return [y, *torch.autograd.grad(y, [x, *run.parameters()], cotangent)]

    with reference_kernels():
        eager, exact = results(module), results(copy.deepcopy(module).double(), torch.float64)
    monkeypatch.delattr(op.reference, family)
    actual = results(module)
    for i, (ours, theirs, right) in enumerate(zip(actual, eager, exact, strict=True)):
        assert_accurate(ours, theirs, right, f"result {i}")


def test_autocast_does_not_reach_into_an_operation() -> None:
    x, weight, bias = torch.randn(3, 4), [torch.randn(4, 4)], [torch.randn(4)]
    expected = highway(x, weight, bias, weight, bias)
    with torch.autocast("cpu", torch.bfloat16):
        actual = highway(x, weight, bias, weight, bias)
    assert torch.equal(actual, expected)


def test_the_mark_of_a_constant_is_that_of_torch() -> None:
    ours, theirs = constant_when_compiled(lambda: 1), torch.compiler.assume_constant_result(lambda: 1)
    assert vars(ours) == vars(theirs) != {}
