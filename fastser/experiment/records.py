"""Records of finished runs as JSON texts, with a checksum of their content."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastser.runtime.digests import digest

RECORD_FORMAT = 4
"""Number that is raised whenever an earlier version could not read the files of this one."""


def text_of(content: Mapping[str, Any]) -> str:
    """Return the content of a record as text, with format and checksum.

    Raises:
        TypeError: If a value is not plain JSON.
        ValueError: If a number is not finite.
    """
    content = json.loads(json.dumps(content, allow_nan=False))  # as it is read: JSON makes lists of tuples
    return json.dumps({"format": RECORD_FORMAT, "checksum": digest(content), **content}, indent=1)


def content_of(text: str) -> dict[str, Any]:
    """Read the content of a record.

    Raises:
        ValueError: If the text is not JSON or of another format, or has not the checksum of its content.
    """
    content = known_format(json.loads(text))
    if content.pop("checksum", None) != digest(content):
        raise ValueError("its checksum is missing or wrong")
    return content


def known_format(record: Any) -> dict[str, Any]:
    """Return a record without its format number, if this version knows the format."""
    found = dict(record)
    version = found.pop("format", RECORD_FORMAT)
    if version != RECORD_FORMAT:
        raise ValueError(f"its format is {version}, this version of fastser knows {RECORD_FORMAT}")
    return found


def confusion_of(matrix: Any) -> NDArray[np.int64]:
    """Return a confusion matrix, int64 [classes, classes].

    Raises:
        ValueError: If it is not a square of counts.
    """
    found = np.array(matrix, np.int64)
    if found.ndim != 2 or found.shape[0] != found.shape[1] or found.min() < 0:
        raise ValueError("the confusion matrix is not a square of counts")
    return found
