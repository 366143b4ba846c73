"""The DenseBlock in every tier."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from accuracy import CAPS, assert_accurate, relative_error
from cases import (
    LAYOUTS,
    REGISTERED,
    PlainDenseBlock,
    assert_refused,
    assert_trains_alike,
    bytes_kept_for_backward,
    compiled,
    input_only_asked,
    normal,
    on_gpu,
    replaced,
    training_and_eval,
)
from fastser_kernels import dense_block
from fastser_kernels.dense_block import native, op, reference
from fastser_kernels.registration import INTERPRETED
from torch import Tensor, nn
from torch.library import opcheck

from fastser.layers import DenseBlock

EPS = 1e-5
OF_KERNELS = LAYOUTS | {
    "slice of channels": lambda x: torch.cat([x, x], 1).contiguous(memory_format=torch.channels_last)[:, : x.shape[1]]
}


@dataclass
class Case:
    """The arguments of a block in float64, with values that its dtypes represent exactly."""

    x: Tensor
    lists: list[list[Tensor]]  # bn_weight, bn_bias, running_mean, running_var, conv_weight
    cotangent: Tensor
    training: bool


def _case(
    shape: tuple[int, int, int, int],
    growth_rate: int,
    layers: int,
    dtype: torch.dtype,
    parameter_dtype: torch.dtype = torch.float32,
    *,
    training: bool,
    mean: float = 0.0,
    std: float = 1.0,
    apart: bool = False,
) -> Case:
    """Return a case with normal maps, or with inputs of all ReLUs far from zero (`apart`)."""
    x = torch.randn(shape)
    if apart:
        x = x.sign() * (1 + 0.2 * torch.rand(shape))
    x = (x * std + mean).to(dtype).double()
    lists: list[list[Tensor]] = [[] for _ in range(5)]
    for i in range(layers):
        channels = shape[1] + i * growth_rate
        weight, bias = (torch.rand(channels) + 0.5) * torch.randn(channels).sign(), torch.randn(channels)
        if apart:
            bias *= 0.05
            weight[shape[1] :] *= 0.3
            bias[shape[1] :] = bias[shape[1] :].sign() * 4
        kernel = torch.randn(growth_rate, channels, 3, 3) / (9 * channels) ** 0.5
        for values, value in zip(
            lists, (weight, bias, torch.zeros(channels), torch.ones(channels), kernel), strict=True
        ):
            values.append(value.to(parameter_dtype).double())
    reference.dense_block(x, *lists, training=True, momentum=1.0, eps=EPS)
    for running_mean, running_var in zip(*lists[2:4], strict=True):  # close to the statistics of the block
        running_mean += 0.1 * running_var.sqrt() * torch.randn(running_var.shape)
        running_var *= 0.8 + 0.4 * torch.rand(running_var.shape)
    for running in (*lists[2], *lists[3]):
        running.copy_(running.to(parameter_dtype))
    cotangent = torch.randn(shape[0], shape[1] + layers * growth_rate, *shape[2:]).to(dtype).double()
    return Case(x, lists, cotangent, training)


def _run(
    function: Callable[..., Tensor],
    case: Case,
    *dtypes: torch.dtype,
    device: str,
    of_maps: str = "channels_last",
    of_kernels: str = "contiguous",
    of_gradient: str = "contiguous",
    of_vectors: str = "contiguous",
) -> dict[str, Tensor]:
    """Return result, gradients and running statistics for these dtypes and layouts of maps and parameters."""
    x = LAYOUTS[of_maps](case.x.to(device, dtypes[0])).requires_grad_()
    lists = [[value.to(device, dtypes[-1], copy=True) for value in values] for values in case.lists]
    lists[4] = [OF_KERNELS[of_kernels](kernel) for kernel in lists[4]]
    if of_vectors == "apart":
        lists[:4] = [[vector.repeat_interleave(2)[::2] for vector in vectors] for vectors in lists[:4]]
    learned = [value.requires_grad_() for i in (0, 1, 4) for value in lists[i]]
    maps = function(x, *lists, training=case.training, momentum=0.1, eps=EPS)
    cotangent = LAYOUTS[of_gradient](case.cotangent.to(device, dtypes[0]))
    gradients = torch.autograd.grad(maps, [x, *learned], cotangent)
    layers = range(len(lists[0]))
    names = ["grad x", *(f"grad {name}[{i}]" for name in ("bn_weight", "bn_bias", "conv_weight") for i in layers)]
    running = {f"{name}[{i}]": lists[j][i] for j, name in ((2, "running_mean"), (3, "running_var")) for i in layers}
    return {"maps": maps, **running, **dict(zip(names, gradients, strict=True))}


def _compare(cases: Sequence[Case], *dtypes: torch.dtype, device: str, gradients: bool = True) -> None:
    """Compare the results of all cases together. The error of eager in a single draw of a few values is chance."""
    actual, eager = (
        _pooled(function, cases, *dtypes, device=device) for function in (dense_block, reference.dense_block)
    )
    exact = _pooled(reference.dense_block, cases, torch.float64, device=device)
    for case, maps in zip(cases, actual["maps"], strict=True):
        assert maps.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(maps[:, : case.x.shape[1]].cpu(), case.x.to(dtypes[0]))
    for name, values in actual.items():  # results in fp32 too are computed from maps of the dtype of x
        if gradients or not name.startswith("grad"):
            together = (torch.stack(results[name]) for results in (eager, exact))
            assert_accurate(torch.stack(values), *together, name, CAPS[dtypes[0]])


def _pooled(
    function: Callable[..., Tensor], cases: Sequence[Case], *dtypes: torch.dtype, device: str
) -> dict[str, list[Tensor]]:
    """Return each result of all cases."""
    results = [_run(function, case, *dtypes, device=device) for case in cases]
    return {name: [result[name] for result in results] for name in results[0]}


@pytest.mark.kernel
@training_and_eval
@pytest.mark.parametrize(
    ("shape", "growth_rate", "layers"), [((2, 5, 7, 6), 3, 3), ((1, 16, 5, 33), 8, 2)], ids=["odd", "wide"]
)
def test_values_and_gradients(
    shape: tuple[int, int, int, int], growth_rate: int, layers: int, training: bool, dtype: torch.dtype, device: str
) -> None:
    normal = {"training": training, "mean": -2.3, "std": 0.5}
    cases = [_case(shape, growth_rate, layers, dtype, **normal, apart=True) for _ in range(3)]
    _compare(cases, dtype, torch.float32, device=device)


@pytest.mark.kernel
@training_and_eval
@normal
def test_normal_maps(normal: dict[str, float], training: bool, dtype: torch.dtype, device: str) -> None:
    """In 16-bit types, rounding changes the sign of inputs of the second ReLU, so the gradients are not compared."""
    case = _case((2, 6, 6, 7), 4, 2, dtype, dtype, training=training, **normal)
    _compare([case], dtype, device=device, gradients=dtype == torch.float32)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("of_maps", "of_gradient"), [("contiguous", "channels_last"), ("contiguous", "expanded"), ("sliced", "sliced")]
)
def test_takes_any_layout(of_maps: str, of_gradient: str, device: str) -> None:
    case = _case((2, 5, 6, 7), 3, 2, torch.float32, training=True, apart=True)
    case.cotangent = LAYOUTS[of_gradient](case.cotangent)
    plain = _run(dense_block, case, torch.float32, device=device)
    layouts = {"of_maps": of_maps, "of_kernels": "channels_last", "of_gradient": of_gradient}
    for name, value in _run(dense_block, case, torch.float32, device=device, **layouts).items():
        torch.testing.assert_close(value, plain[name], msg=name)


@pytest.mark.kernel
@training_and_eval
def test_frozen_parameters_get_no_gradient(training: bool, device: str) -> None:
    case = _case((2, 5, 6, 7), 3, 2, torch.float32, training=training, apart=True)
    expected = _run(dense_block, case, torch.float32, device=device)["grad x"]
    x = case.x.to(device, torch.float32).requires_grad_()
    lists = [[value.to(device, torch.float32) for value in values] for values in case.lists]
    maps = dense_block(x, *lists, training=training, momentum=0.1, eps=EPS)
    actual = torch.autograd.grad(maps, x, case.cotangent.to(device, torch.float32))[0]
    torch.testing.assert_close(actual, expected)


@pytest.mark.kernel
def test_statistics_are_safe_far_from_zero(device: str) -> None:
    """The means of x and of the new maps of the first layer are about 100 standard deviations."""
    x = (torch.randn(4, 4, 16, 12) + 100.0).contiguous(memory_format=torch.channels_last)
    kernels = [torch.zeros(3, 4, 3, 3), torch.randn(3, 7, 3, 3)]
    for g in range(3):
        kernels[0][g, g, 1, 1] = 1.0  # copies map g, which BN shifts to 100, so the ReLU does not change it
    ones, zeros = [torch.ones(4), torch.ones(7)], [torch.zeros(4), torch.zeros(7)]
    bias = [torch.full((4,), 100.0), torch.zeros(7)]
    lists = [[v.to(device) for v in values] for values in (ones, bias, zeros, [o.clone() for o in ones], kernels)]
    maps = dense_block(x.to(device), *lists, training=True, momentum=1.0, eps=EPS)
    var, mean = torch.var_mean(maps[:, :7].double(), (0, 2, 3))
    assert mean.min() > 50 * var.max().sqrt()
    assert relative_error(lists[2][1], mean) < 1e-6
    assert relative_error(lists[3][1], var) < 1e-5


@pytest.mark.kernel
def test_an_empty_batch_is_no_error(device: str) -> None:
    case = _case((2, 5, 6, 4), 3, 2, torch.float32, training=False)
    lists = [[value.to(device, torch.float32) for value in values] for values in case.lists]
    x = torch.empty(0, 5, 6, 4, device=device, requires_grad=True)
    maps = dense_block(x, *lists, training=False, momentum=0.1, eps=EPS)
    assert maps.shape == (0, 11, 6, 4)
    assert torch.autograd.grad(maps.sum(), x)[0].shape == x.shape


@pytest.mark.kernel
def test_a_relu_passes_no_gradient_at_zero(device: str) -> None:
    """This is the gradient of silence in eval mode with initial running means and shifts."""
    case = _case((2, 5, 6, 4), 3, 2, torch.float32, training=False)
    for values in ([case.x], case.lists[1], case.lists[2]):
        for value in values:
            value.zero_()
    _compare([case], torch.float32, device=device)


@pytest.mark.kernel
@training_and_eval
def test_takes_kernels_that_are_slices_and_vectors_with_gaps(training: bool, device: str) -> None:
    case = _case((2, 5, 6, 7), 3, 2, torch.float32, training=training, apart=True)
    case.lists[0] = [weight[:1].expand(weight.shape) for weight in case.lists[0]]
    whole = _run(dense_block, case, torch.float32, device=device)
    sliced = _run(dense_block, case, torch.float32, device=device, of_kernels="slice of channels", of_vectors="apart")
    for name, expected in whole.items():
        torch.testing.assert_close(sliced[name], expected, msg=name)


@pytest.mark.kernel
@training_and_eval
def test_not_a_number_stays_visible(training: bool, device: str) -> None:
    case = _case((2, 5, 6, 7), 3, 1, torch.float32, training=training)
    case.x[0, 0, 2, 2] = torch.nan
    maps = _run(dense_block, case, torch.float32, device=device)["maps"]
    assert maps[0, 5:, 1:4, 1:4].isnan().all()


@pytest.mark.fast
@pytest.mark.kernel
def test_statistics_do_not_depend_on_the_default_dtype(device: str) -> None:
    case = _case((2, 5, 6, 7), 3, 2, torch.float32, training=True, apart=True)
    torch.set_default_dtype(torch.bfloat16)
    try:
        _compare([case], torch.float32, device=device)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_any_parameter_can_be_trained_alone(training: bool, place: int) -> None:
    case = _case((2, 3, 5, 4), 2, 2, torch.float64, torch.float64, training=training, apart=True)
    learned = [value for i in (0, 1, 4) for value in case.lists[i]][place].requires_grad_()
    ours, expected = (
        torch.autograd.grad(run(case.x, *case.lists, training=training, momentum=0.0, eps=EPS), learned, case.cotangent)
        for run in (dense_block, reference.dense_block)
    )
    torch.testing.assert_close(ours, expected)


@pytest.mark.skipif(INTERPRETED, reason="this process interprets kernels on CPU tensors")
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 3, 37, 5), (2, 3, 7, 40), (5, 3, 7, 5), (13, 3, 2, 3)], ids=str)
@training_and_eval
def test_bands_and_threads_make_no_difference(
    training: bool, shape: tuple[int, int, int, int], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "threads_for", lambda values: threads)
    _compare([_case(shape, 2, 3, torch.float64, torch.float64, training=training)], torch.float64, device="cpu")


@pytest.mark.skipif(INTERPRETED, reason="this process interprets kernels on CPU tensors")
@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_number_of_threads_gives_the_same_bits(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "threads_for", lambda values: threads)
    case = _case((4, 16, 40, 33), 8, 3, torch.float32, training=True)
    first, second = (_run(dense_block, case, torch.float32, device="cpu") for _ in range(2))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.skipif(INTERPRETED, reason="this process interprets kernels on CPU tensors")
def test_maps_of_many_bands(dtype: torch.dtype) -> None:
    """Compare maps whose scratch copy does not fit into one band, with tiles of all sizes."""
    for growth_rate in (24, 16, 13):
        case = _case((2, 40, 30, 100), growth_rate, 2, dtype, training=True, apart=True)
        _compare([case], dtype, torch.float32, device="cpu")


@pytest.mark.parametrize(("dtype", "layout"), REGISTERED)
def test_passes_opcheck(dtype: torch.dtype, layout: str) -> None:
    case = _case((2, 3, 5, 4), 2, 2, dtype, dtype, training=True)
    x, cotangent = (LAYOUTS[layout](t.to(dtype)) for t in (case.x, case.cotangent))
    lists = [[value.to(dtype) for value in values] for values in case.lists]
    for training in (True, False):
        running = [[], []] if training else lists[2:4]
        arguments = (*lists[:2], *running, lists[4], training, EPS)
        opcheck(op._forward, (x, *arguments))
        saved = op._forward(x, *arguments)
        opcheck(op._backward, (cotangent, *saved, *arguments, not training))


@training_and_eval
def test_gradcheck(training: bool) -> None:
    case = _case((2, 3, 5, 4), 2, 2, torch.float64, torch.float64, training=training, apart=True)
    learned = [value for i in (0, 1, 4) for value in case.lists[i]]

    def run(x: Tensor, *learned: Tensor) -> Tensor:
        running = [[value.clone() for value in case.lists[i]] for i in (2, 3)]
        lists = (list(learned[:2]), list(learned[2:4]), *running, list(learned[4:]))
        return dense_block(x, *lists, training=training, momentum=0.1, eps=EPS)

    assert torch.autograd.gradcheck(run, [t.clone().requires_grad_() for t in (case.x, *learned)])


@training_and_eval
def test_compiled_equals_eager(training: bool) -> None:
    case = _case((2, 3, 5, 4), 2, 2, torch.float64, torch.float64, training=training, apart=True)
    actual = _run(compiled(dense_block), case, torch.float64, device="cpu")
    for name, expected in _run(reference.dense_block, case, torch.float64, device="cpu").items():
        torch.testing.assert_close(actual[name], expected, msg=name)


def test_only_maps_and_statistics_are_kept_for_backward() -> None:
    block, x = DenseBlock(16, 8, 3), torch.randn(2, 16, 16, 12)
    kept = bytes_kept_for_backward(partial(block, x), *block.parameters())
    assert kept == block(x).nbytes + 2 * 4 * (16 + 2 * 8)


def test_no_parameter_gradient_where_none_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = input_only_asked(op, monkeypatch)
    block, x = DenseBlock(3, 2, 2), torch.randn(2, 3, 4, 4, requires_grad=True)
    block(x).sum().backward()
    block.requires_grad_(False)(x).sum().backward()
    assert asked == [False, True]


def test_trains_as_plain_modules_do(device: str) -> None:
    x, target = (torch.randn(2, 6, 5, 4) - 2.3).to(device), torch.randn(2, 8, 5, 4).to(device)

    def loss(model: nn.Module) -> Tensor:
        return F.mse_loss(model(x)[:, 6:], target)

    learnt = 0.95 * target.square().mean().item()
    optimizer = partial(torch.optim.SGD, lr=0.5, momentum=0.9)
    assert_trains_alike(DenseBlock(6, 4, 2).to(device), PlainDenseBlock(6, 4, 2).to(device), loss, optimizer, learnt)


@on_gpu
def test_at_full_size_bits_repeat_and_memory_is_that_of_the_results() -> None:
    block = DenseBlock(48, 24, 6).cuda()
    x = torch.randn(64, 48, 128, 64, device="cuda", dtype=torch.bfloat16)
    cotangent = torch.randn(64, 192, 128, 64, device="cuda", dtype=torch.bfloat16)
    results = []
    for _ in range(2):
        block.zero_grad()
        given = x.clone().requires_grad_()
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        maps = block(given)
        kept = torch.cuda.memory_allocated() - before
        maps.backward(cotangent)
        peak = torch.cuda.max_memory_allocated() - before
        results.append([maps.detach(), given.grad, *(parameter.grad.clone() for parameter in block.parameters())])
    assert kept < 1.05 * maps.nbytes
    assert peak < 3.5 * maps.nbytes
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


def test_wrong_arguments_are_named() -> None:
    x, lists = torch.randn(2, 3, 4, 4), [[torch.ones(3)] for _ in range(4)] + [[torch.ones(2, 3, 3, 3)]]
    wrong = [
        ((x[0], *lists), ValueError, r"x must be \[N, C, T, F\], got \[3, 4, 4\]"),
        ((x.long(), *lists), TypeError, r"x must be floating point, got int64"),
        ((x[:, :, :0], *lists), ValueError, r"x must hold maps of at least 1 x 1, got \[2, 3, 0, 4\]"),
        ((x[..., :0], *lists), ValueError, r"x must hold maps of at least 1 x 1, got \[2, 3, 4, 0\]"),
        ((x[:, :0], *lists), ValueError, r"x must hold maps of at least 1 x 1, got \[2, 0, 4, 4\]"),
        (
            (x[:1, :, :1, :1], *lists),
            ValueError,
            r"x must hold more than 1 value per channel when training, got \[1, 3, 1, 1\]",
        ),
        ((x, *replaced(lists, 4, [])), ValueError, "conv_weight must hold at least one kernel"),
        (
            (x, *replaced(lists, 4, [torch.ones(2, 4, 3, 3)])),
            ValueError,
            r"conv_weight\[0\] must be \[G, 3, 3, 3\], got",
        ),
        (
            (x, *replaced(lists, 4, [torch.tensor(1.0)])),
            ValueError,
            r"conv_weight\[0\] must be \[G, 3, 3, 3\], got \[\]",
        ),
        ((x, *replaced(lists, 4, [torch.ones(2)])), ValueError, r"conv_weight\[0\] must be \[G, 3, 3, 3\], got \[2\]"),
        (
            (x, *replaced(lists, 1, [torch.ones(3)] * 2)),
            ValueError,
            "bn_bias must hold one tensor, as many as conv_weight, got 2",
        ),
        ((x, *replaced(lists, 3, [torch.ones(2)])), ValueError, r"running_var\[0\] must be \[3\], got \[2\]"),
        ((x, *replaced(lists, 0, [torch.ones(3).double()])), TypeError, r"bn_weight\[0\] must be float32, got float64"),
        (
            (x, *replaced(lists, 2, [torch.ones(3, device="meta")])),
            ValueError,
            r"running_mean\[0\] must be on cpu as x",
        ),
    ]
    assert_refused(partial(dense_block, training=True, momentum=0.1, eps=EPS), wrong)
