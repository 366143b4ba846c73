"""Running statistics of batch normalisation: the bits of nn.BatchNorm2d's formula, for one layer and for many."""

import pytest
import torch
from fastser_kernels.batch_statistics import update_running

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("channels", [[5], [3, 5, 8]], ids=str)
def test_running_statistics_move_towards_those_of_the_batch(channels: list[int], dtype: torch.dtype) -> None:
    exact = torch.promote_types(dtype, torch.float32)
    mean, var = torch.randn(channels[-1], dtype=exact), torch.rand(channels[-1], dtype=exact)
    running_mean, running_var = ([torch.rand(c, dtype=dtype) for c in channels] for _ in range(2))
    batch_mean, batch_var = mean.clone(), var * (7 / 6)
    expected = [
        [torch.lerp(running, batch[: len(running)].to(dtype), 0.1) for running in before]
        for before, batch in ((running_mean, batch_mean), (running_var, batch_var))
    ]
    update_running(running_mean, running_var, mean, var, 7, 0.1)
    for after, wanted in zip([*running_mean, *running_var], [*expected[0], *expected[1]], strict=True):
        assert torch.equal(after, wanted)
    assert torch.equal(mean, batch_mean)
