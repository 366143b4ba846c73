"""Dates of reports and files."""

from datetime import UTC, datetime


def today() -> str:
    """Return the date, UTC, ISO 8601."""
    return datetime.now(UTC).date().isoformat()
