"""Times in tables: seconds, or durations as pandas and ISO 8601 write them."""

import math
import re

_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_SECONDS = re.compile(rf"({_NUMBER})(?:[eE][+-]?\d+)?\s*s?")
_PANDAS = re.compile(rf"(?:(?P<days>\d+) days?)?\s*(?:\+?(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>{_NUMBER}))?")
_ISO = re.compile(rf"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>{_NUMBER})S)?)?")
_UNITS = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}

_MISSING = ("", "nat", "nan", "none", "<na>")
"""Texts in lower case that stand for a missing time."""


def seconds_of(text: str) -> float | None:
    """Return a time in seconds, or None where it is missing.

    Args:
        text: A number of seconds ("1.5"), a duration of pandas and audformat ("0 days 00:00:01.5") or of ISO 8601
            ("P0DT0H0M1.5S"), or a missing value ("", "NaT").

    Raises:
        ValueError: If it is something else, such as a negative time.

    Example:
        >>> seconds_of("1.5"), seconds_of("0 days 00:01:01.5"), seconds_of("P0DT0H1M1.5S"), seconds_of("NaT")
        (1.5, 61.5, 61.5, None)
    """
    text = text.strip()
    if text.lower() in _MISSING:
        return None
    if _SECONDS.fullmatch(text):
        seconds = float(text.removesuffix("s"))
        if math.isfinite(seconds):
            return seconds
    for form in (_PANDAS, _ISO):
        if (found := form.fullmatch(text)) and any(found.groupdict().values()):
            return sum(float(found[unit] or 0) * size for unit, size in _UNITS.items())
    raise ValueError(f"{text!r} is no time; give seconds, such as 1.5, or a duration, such as 0 days 00:00:01.5")
