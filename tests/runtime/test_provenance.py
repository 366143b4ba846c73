"""Provenance names who computed the operations."""

import pytest
from fastser_kernels import reference_kernels, use_kernels
from fastser_kernels.native.library import Native

from fastser.runtime import provenance

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (Native(variant="v4-bf16", library=object()), "auto: fused (native v4-bf16)"),  # type: ignore[arg-type]
        (Native(reason="FASTSER_NATIVE=off"), "reference (no compiled kernels: FASTSER_NATIVE=off)"),
    ],
    ids=["library", "no library"],
)
def test_the_compiled_variant_of_a_cpu_is_named(monkeypatch: pytest.MonkeyPatch, state: Native, expected: str) -> None:
    monkeypatch.setattr(provenance, "native", lambda: state)
    assert provenance.environment("cpu")["kernels"] == expected
    with use_kernels("fused"):
        assert provenance.environment("cpu")["kernels"] == expected.removeprefix("auto: ")
    with reference_kernels():
        assert provenance.environment("cpu")["kernels"] == "reference (plain PyTorch)"


def test_fallbacks_are_named_with_their_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "native", lambda: Native(variant="v3", library=object()))  # type: ignore[arg-type]
    monkeypatch.setattr(provenance, "reasons", lambda device: {"highway in bfloat16": f"wrong on the {device}"})
    auto = "auto: fused (native v3)"
    told = provenance.environment("cpu")["kernels"]
    assert told == f"{auto}, but highway in bfloat16 by the reference (wrong on the cpu)"
    with use_kernels("fused"):
        assert provenance.environment("cpu", {})["kernels"] == auto
        told = provenance.environment("cpu", {"a": "why", "b": "why not"})["kernels"]
    assert told == f"{auto}, but a by the reference (why); b by the reference (why not)"
