"""The examples in the docstrings of the public functions."""

import doctest
import importlib

import pytest

FAMILIES = ["dense_block", "gather", "highway", "linf_step", "log_spectrogram", "lstm", "norm_relu", "transition"]


@pytest.mark.fast
@pytest.mark.parametrize("module", ["choice", *(f"{family}.op" for family in FAMILIES)])
def test_examples_give_what_they_show(module: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(f"fastser_kernels.{module}"))
    assert attempted > 0
    assert failed == 0
