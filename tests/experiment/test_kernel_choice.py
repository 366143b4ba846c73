"""The choice between kernels and references for a grid: which operations its runs use, sizes, keys."""

import pytest
import torch
from fastser_kernels.trust.calls import Size
from fastser_kernels.trust.verdict import Verdict

from fastser.experiment.kernel_choice import OF_EVERY_RUN, Fallback, KernelChoice, operations_of, run_size
from fastser.models import MODELS, Architecture
from fastser.settings import PAPER, QUICK, Settings

FLOAT32 = QUICK.override(["training.precision=float32"])
BFLOAT16 = QUICK.override(["training.precision=bfloat16"])
SLOW = Fallback("lstm", "float32", False, "slower here")
DENSE = {"dense_block", "transition", "norm_relu"}

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("model", "families"),
    [
        ("cnn", {"max_pool_relu"}),
        ("cnn-lstm", {"max_pool_relu", "lstm"}),
        ("densenet", DENSE),
        ("densenet-lstm", DENSE | {"lstm"}),
        ("proposed", DENSE | {"lstm", "highway"}),
        ("linear", set()),
    ],
)
def test_the_operations_of_a_model_are_found_in_all_precisions_of_a_run(model: str, families: set[str]) -> None:
    state = torch.get_rng_state()
    assert operations_of(model, FLOAT32) == OF_EVERY_RUN | {(family, torch.float32) for family in families}
    both = {(family, dtype) for family in families for dtype in (torch.float32, torch.bfloat16)}
    assert operations_of(model, BFLOAT16) == OF_EVERY_RUN | both
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_that_cannot_run_without_values_may_use_everything() -> None:
    class OwnModel(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)[:, :4] * x.sum().item()

    with MODELS.including(Architecture("own", "own", lambda settings, shape: OwnModel())):
        operations = operations_of("own", FLOAT32)
    assert operations >= operations_of("proposed", FLOAT32) | operations_of("cnn", FLOAT32)
    assert {dtype for _, dtype in operations} == {torch.float32}


def test_the_sizes_of_the_paper_are_those_of_the_kernels_own_self_test() -> None:
    assert run_size(PAPER, torch.device("cpu")) == Size()
    assert run_size(PAPER, torch.device("cuda")) == Size(images=16)
    small = run_size(QUICK.override(["training.batch_size=3"]), torch.device("cpu"))
    assert (small.images, small.map_frames, small.map_bins, small.growth_rate) == (3, 32, 16, 8)


@pytest.mark.parametrize(
    ("choice", "settings", "model", "key"),
    [
        (KernelChoice("auto", ()), FLOAT32, "proposed", ""),
        (KernelChoice("fused"), FLOAT32, "proposed", ""),
        (KernelChoice("reference"), FLOAT32, "cnn", "reference"),
        (KernelChoice("auto", (SLOW,)), FLOAT32, "proposed", " lstm float32"),
        (KernelChoice("auto", (SLOW,)), FLOAT32, "cnn", ""),  # which has no LSTM
        (
            KernelChoice("auto", (SLOW, Fallback("lstm", "bfloat16", True, "wrong"))),
            BFLOAT16,
            "proposed",
            " lstm bfloat16 compiled lstm float32",
        ),
    ],
)
def test_a_key_names_what_the_reference_computes_in_its_run(
    choice: KernelChoice, settings: Settings, model: str, key: str
) -> None:
    assert choice.key(operations_of(model, settings)) == key


def test_a_choice_follows_from_verdicts() -> None:
    right = Verdict("highway", "float32", "1", "", 1.0, 2.0)
    wrong = Verdict("lstm", "bfloat16", "1", "its self-test fails")
    fast_when_compiled = Verdict("transition", "float32", "1", "", 3.0, 4.0, 1.0)
    choice = KernelChoice.after([right, wrong, fast_when_compiled])
    assert choice.fallbacks == (
        Fallback("lstm", "bfloat16", False, "its self-test fails"),
        Fallback("lstm", "bfloat16", True, "its self-test fails"),
        Fallback("transition", "float32", True, "slower here: 3 ms instead of 1 ms"),
    )
    assert choice.reasons() == {
        "lstm in bfloat16": "its self-test fails",
        "transition in float32": "slower here: 3 ms instead of 1 ms",
    }
