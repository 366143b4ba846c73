"""Provenance names who computed the operations."""

import pytest
from fastser_kernels import reference_kernels
from fastser_kernels.native.library import Native

from fastser.runtime import provenance

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (Native(variant="v4-bf16", library=object()), "fused (native v4-bf16)"),  # type: ignore[arg-type]
        (Native(reason="FASTSER_NATIVE=off"), "reference (no compiled kernels: FASTSER_NATIVE=off)"),
    ],
    ids=["library", "no library"],
)
def test_the_compiled_variant_of_a_cpu_is_named(monkeypatch: pytest.MonkeyPatch, state: Native, expected: str) -> None:
    monkeypatch.setattr(provenance, "native", lambda: state)
    assert provenance.environment("cpu")["kernels"] == expected
    with reference_kernels():
        assert provenance.environment("cpu")["kernels"] == "reference (plain PyTorch)"
