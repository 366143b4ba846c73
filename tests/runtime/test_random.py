"""Random state: a seeded block draws repeatable numbers and leaves the caller's generators as they were."""

import warnings
from types import SimpleNamespace

import pytest
import torch
from cases import on_gpu

from fastser.runtime.random import seeded

CPU = torch.device("cpu")


@pytest.mark.fast
def test_a_block_draws_the_numbers_of_manual_seed() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        expected = torch.randn(5)
    with seeded(7, CPU):
        assert torch.equal(torch.randn(5), expected)


@pytest.mark.fast
def test_the_caller_draws_on_as_if_there_had_been_no_block() -> None:
    before = torch.get_rng_state()
    with seeded(7, CPU):
        torch.randn(5)
        torch.manual_seed(8)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_exception_restores_the_state_too() -> None:
    def fail() -> None:
        with seeded(7, CPU):
            torch.randn(5)
            raise ZeroDivisionError

    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_blocks_nest() -> None:
    with seeded(7, CPU):
        first, second = torch.randn(5), torch.randn(5)
    with seeded(7, CPU):
        assert torch.equal(torch.randn(5), first)
        with seeded(8, CPU):
            assert not torch.equal(torch.randn(5), second)
        assert torch.equal(torch.randn(5), second)


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.Generator]:
    """Stand-ins for the generators of four CUDA devices, of which device 2 is the current one."""
    generators = [torch.Generator().manual_seed(100 + index) for index in range(4)]
    monkeypatch.setattr(
        torch,
        "cuda",
        SimpleNamespace(init=lambda: None, default_generators=tuple(generators), current_device=lambda: 2),
    )
    return generators


@pytest.mark.parametrize(("name", "index"), [("cuda", 2), ("cuda:0", 0), ("cuda:1", 1)])
def test_of_many_gpus_only_the_named_one_is_seeded_without_a_warning(
    four_gpus: list[torch.Generator], name: str, index: int
) -> None:
    before = [torch.get_rng_state(), *(generator.get_state() for generator in four_gpus)]
    seeds = [generator.initial_seed() for generator in four_gpus]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with seeded(7, torch.device(name)):
            seeds[index] = 7
            assert torch.initial_seed() == 7
            assert [generator.initial_seed() for generator in four_gpus] == seeds
            for generator in four_gpus[index : index + 1]:
                torch.randn(5, generator=generator)
    after = [torch.get_rng_state(), *(generator.get_state() for generator in four_gpus)]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_block_on_the_cpu_leaves_every_gpu_alone(four_gpus: list[torch.Generator]) -> None:
    with seeded(7, CPU):
        assert [generator.initial_seed() for generator in four_gpus] == [100, 101, 102, 103]


@on_gpu
def test_on_a_gpu_the_numbers_are_those_of_manual_seed_and_the_state_is_restored() -> None:
    device = torch.device("cuda")
    with torch.random.fork_rng(devices=[torch.cuda.current_device()]):
        torch.manual_seed(7)
        expected = torch.randn(5, device=device)
    before = torch.cuda.get_rng_state()
    with seeded(7, device):
        assert torch.equal(torch.randn(5, device=device), expected)
    assert torch.equal(torch.cuda.get_rng_state(), before)
