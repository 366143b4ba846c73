"""Choice of the precision: hardware, size of a training step, self-test, and the sentence about a wrong operation."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from fastser.runtime import precision as runtime
from fastser.runtime.precision import Convolution, MatrixProduct, first_wrong, in_precision, logits_in
from fastser.settings import PAPER, QUICK, Settings
from fastser.training import precision
from fastser.training.precision import (
    SMALLEST_BFLOAT16_STEP,
    bfloat16_fault,
    describe,
    first_map_values,
    operations,
    training_precision,
    with_chosen_precision,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    """Forget self-tests and warnings before and after each test."""
    for remembered in (first_wrong, precision._warn):
        remembered.cache_clear()
    yield
    for remembered in (first_wrong, precision._warn):
        remembered.cache_clear()


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """A function that says whether the hardware multiplies bfloat16 fast."""
    return lambda is_fast: monkeypatch.setattr(precision, "multiplies_bfloat16_fast", lambda _: is_fast)


def chosen(settings: Settings, device: torch.device = CPU) -> tuple[str, str]:
    made = with_chosen_precision(settings, device)
    return made.training.precision, made.evaluation.precision


def wrong_in(module: object, name: str, monkeypatch: pytest.MonkeyPatch, when: Callable[[Tensor], bool]) -> None:
    """Make an operation on bfloat16 weights wrong: one value of its result is missing."""
    right = getattr(module, name)

    def wrong(x: Tensor, weight: Tensor, *rest: object, **options: object) -> Tensor:
        result = right(x, weight, *rest, **options)
        if weight.dtype != torch.bfloat16 or not when(weight):
            return result
        return result * without_first(result)

    monkeypatch.setattr(module, name, wrong)


@pytest.mark.fast
def test_auto_is_bfloat16_where_it_is_fast_and_the_step_is_large(fast: Callable[[bool], None]) -> None:
    fast(True)
    assert chosen(PAPER) == ("bfloat16", "float32")
    assert chosen(QUICK) == ("float32", "float32")
    fast(False)
    assert chosen(PAPER) == ("float32", "float32")


def test_the_smallest_step_decides(fast: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch) -> None:
    fast(True)
    monkeypatch.setitem(SMALLEST_BFLOAT16_STEP, "cpu", first_map_values(QUICK))
    assert training_precision(QUICK, CPU) == "bfloat16"
    monkeypatch.setitem(SMALLEST_BFLOAT16_STEP, "cpu", first_map_values(QUICK) + 1)
    assert training_precision(QUICK, CPU) == "float32"


def test_values_of_the_first_maps() -> None:
    assert first_map_values(PAPER) == 64 * 48 * 128 * 64
    assert first_map_values(QUICK) == 16 * 16 * 32 * 16
    odd = [
        "spectrogram.segment_frames=17",
        "spectrogram.segment_hop=17",
        "spectrogram.num_bins=19",
        "training.batch_size=2",
    ]
    assert first_map_values(PAPER.override(odd)) == 2 * 48 * 9 * 10
    assert first_map_values(PAPER.override([*odd, "model.stem=conv3x3"])) == 2 * 48 * 17 * 19


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_a_named_precision_is_taken_on_any_hardware(asked: str, fast: Callable[[bool], None]) -> None:
    fast(asked == "float32")
    settings = PAPER.override([f"training.precision={asked}", f"evaluation.precision={asked}"])
    assert with_chosen_precision(settings, CPU) is settings
    once = with_chosen_precision(PAPER, CPU)
    assert with_chosen_precision(once, CPU) is once


@pytest.mark.parametrize(
    ("name", "capability", "expected"),
    [
        ("Tesla P100", (6, 0), "float32"),
        ("Tesla V100", (7, 0), "float16"),
        ("Tesla T4", (7, 5), "float16"),
        ("NVIDIA GeForce GTX 1650", (7, 5), "float32"),
        ("NVIDIA A100", (8, 0), "bfloat16"),
        ("NVIDIA H100", (9, 0), "bfloat16"),
        (None, (0, 0), "bfloat16"),
    ],
)
def test_a_gpu_takes_the_16_bits_of_its_tensor_cores_and_that_of_a_worker_bfloat16(
    name: str | None, capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_gpu(name, capability, monkeypatch)
    assert chosen(QUICK, GPU) == (expected, "float32")


def test_bfloat16_is_refused_with_one_sentence_on_a_gpu_without_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install_gpu("Tesla T4", (7, 5), monkeypatch)
    for _ in range(2):
        assert chosen(QUICK.override(["training.precision=bfloat16"]), GPU) == ("float32", "float32")
    assert [record.getMessage() for record in caplog.records] == [
        "Tesla T4 has no arithmetic in bfloat16. Models are trained and tested in float32."
    ]


def install_gpu(name: str | None, capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a GPU into this machine, or none for a name of None."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: name is not None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)


@pytest.mark.parametrize(("avx512_bf16", "amx"), [(False, False), (True, False), (False, True)])
def test_cpus_with_avx512_bf16_or_amx_are_fast(avx512_bf16: bool, amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert runtime.multiplies_bfloat16_fast(CPU) == (avx512_bf16 or amx)


@pytest.mark.parametrize("settings", [PAPER, QUICK, PAPER.override(["model.stem=conv3x3"])], ids=lambda s: s.model.stem)
def test_operations_of_the_models_are_right_here_and_draw_no_global_random_numbers(settings: Settings) -> None:
    before = torch.get_rng_state()
    assert first_wrong(operations(settings)) is None
    assert torch.equal(torch.get_rng_state(), before)


def test_every_kind_of_convolution_of_the_models_is_tested() -> None:
    texts = list(map(str, operations(PAPER)))
    assert texts[:2] == [f"the 7x7 convolution of 1 to {n} channels with stride 2" for n in (48, 32)]
    assert "the 3x3 convolution of 48 to 24 channels" in texts
    assert "the 1x1 convolution of 192 to 192 channels" in texts
    cnn = [text for text in texts if text.startswith(("the 16x12", "the 12x8", "the 7x5"))]
    assert cnn == [
        "the 16x12 convolution of 1 to 16 channels",
        "the 12x8 convolution of 16 to 24 channels",
        "the 7x5 convolution of 24 to 32 channels",
    ]
    small = PAPER.override(["model.cnn_kernels=[[2,2],[2,2],[3,3]]", "model.stem=conv3x3"])
    assert "the 2x2 convolution of 16 to 24 channels" in map(str, operations(small))
    assert str(operations(small)[0]) == "the 3x3 convolution of 1 to 48 channels"


@pytest.mark.parametrize("operation", [Convolution(3, 5, (4, 3), 2), MatrixProduct(7, 5)], ids=str)
@pytest.mark.parametrize("part", ["result", "grad_x", "grad_weight"])
def test_one_wrong_value_is_found(operation: Convolution | MatrixProduct, part: str) -> None:
    class Planted(type(operation)):  # type: ignore[misc]
        def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
            x, weight = damaged(x, part == "grad_x"), damaged(weight, part == "grad_weight")
            result = super().__call__(x, weight)
            return result * without_first(result) if part == "result" and x.dtype == torch.bfloat16 else result

    def damaged(operand: Tensor, is_damaged: bool) -> Tensor:
        if is_damaged and operand.dtype == torch.bfloat16:
            operand.register_hook(lambda gradient: gradient * without_first(gradient))
        return operand

    planted = Planted(**vars(operation))
    assert first_wrong((operation,)) is None
    assert first_wrong((operation, planted)) == str(operation)


def without_first(like: Tensor) -> Tensor:
    mask = torch.ones_like(like)
    mask[(0,) * mask.dim()] = 0
    return mask


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_wrong(value: float) -> None:
    class Planted(MatrixProduct):
        def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
            return super().__call__(x, weight) + (value if x.dtype == torch.bfloat16 else 0)

    assert first_wrong((Planted(3, 2),)) == "the matrix product of 3 to 2 features"


@pytest.mark.parametrize("assignment", ["training.precision=auto", "training.precision=bfloat16"])
def test_a_wrong_convolution_leads_to_float32_with_one_sentence(
    assignment: str,
    fast: Callable[[bool], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fast(True)
    wrong_in(torch.nn.functional, "conv2d", monkeypatch, lambda weight: weight.shape[2:] == (12, 8))
    settings = PAPER.override([assignment, "evaluation.precision=bfloat16"])
    for _ in range(2):
        assert chosen(settings) == ("float32", "float32")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        f"PyTorch {torch.__version__} computes the 12x8 convolution of 16 to 24 channels wrongly in bfloat16 on this "
        "CPU. Models are trained and tested in float32."
    )
    assert bfloat16_fault(settings, CPU) is not None
    assert bfloat16_fault(settings, GPU) is None


def test_the_self_test_is_left_out_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "first_wrong", lambda _: pytest.fail("tested"))
    assert chosen(QUICK) == ("float32", "float32")


def test_a_description_names_two_precisions_where_they_differ() -> None:
    assert describe(QUICK.override(["training.precision=float32"])) == "float32"
    mixed = QUICK.override(["training.precision=bfloat16"])
    assert describe(mixed) == "bfloat16 in training, float32 in tests"


def test_a_model_in_bfloat16_returns_float32_logits_and_has_the_same_weights() -> None:
    model, x = torch.nn.Linear(40, 3), torch.randn(5, 40)
    assert in_precision(model, "float32") is model
    rounded = in_precision(model, "bfloat16")
    assert [*rounded.parameters()] == [*model.parameters()]
    assert torch.equal(rounded(x), logits_in("bfloat16", model, x))
    assert rounded(x).dtype == torch.float32
    assert not torch.equal(rounded(x), model(x))
    torch.testing.assert_close(rounded(x), model(x), rtol=0.02, atol=0.02)
    expected = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(logits_in("float32", model, x), expected)
