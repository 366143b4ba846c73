"""Findings of an examination."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about what was examined.

    Attributes:
        severity: "ok", a note that needs no action, a warning about results, or an error that must be corrected.
        sentence: The finding with numbers and names, and the action where there is one.
    """

    severity: Severity
    sentence: str


def has_errors(findings: Iterable[Finding]) -> bool:
    """Return whether there is an error among findings."""
    return any(finding.severity == "error" for finding in findings)
