"""Verdicts of the self-test about one family of operations in one dtype."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

MARGIN = 1.1
"""Factor by which the reference must be faster before it computes, so that noise does not change the choice."""


@dataclass(frozen=True)
class Verdict:
    """Result of the self-test of a family in a dtype.

    Attributes:
        family: Name of the family, "lstm".
        dtype: Name of the dtype, "float32".
        size: The real size as text, or "" if the test did not reach it.
        fault: Reason not to use the kernel at any size, or "".
        fused_ms: Milliseconds of the kernel at the real size.
        reference_ms: Milliseconds of the eager reference at the real size.
        compiled_ms: Milliseconds of the reference compiled by torch.compile, or None if it was not measured.
    """

    family: str
    dtype: str
    size: str
    fault: str = ""
    fused_ms: float = 0.0
    reference_ms: float = 0.0
    compiled_ms: float | None = None

    @property
    def key(self) -> str:
        """Name of the verdict in the cache."""
        return f"{self.family} {self.dtype} {self.size}"

    def against(self, *, compiled: bool) -> str:
        """Return why the reference should compute, or "".

        Args:
            compiled: The operation is part of a compiled graph, so the reference would be compiled too.
        """
        if self.fault:
            return self.fault
        other = self.compiled_ms if compiled and self.compiled_ms is not None else self.reference_ms
        if other * MARGIN < self.fused_ms:
            return f"slower here: {_ms(self.fused_ms)} ms instead of {_ms(other)} ms"
        return ""

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Any) -> Self:
        """Read a verdict.

        Raises:
            ValueError: If the record is not that of a verdict.
        """
        kinds = {"compiled_ms": (float, type(None)), "fused_ms": (float,), "reference_ms": (float,)}
        names = {field.name for field in fields(cls)}
        if not isinstance(record, dict) or record.keys() != names:
            raise ValueError("not a verdict")
        if not all(isinstance(record[name], kinds.get(name, (str,))) for name in names):
            raise ValueError("not a verdict")
        return cls(**record)


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.2g}" if milliseconds < 10 else f"{milliseconds:.0f}"
