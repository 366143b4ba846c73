"""NAME=PATH, the argument that names a corpus by its reader and its place."""

from pathlib import Path

from fastser.runtime.files import expanded

from .base import CorpusError
from .readers import example_argument


def named_path(argument: str, text: str, example: str = "emodb") -> tuple[str, Path]:
    """Split NAME=PATH. The home folder takes the place of a leading "~".

    Args:
        argument: Name of the argument or option for the error message, such as "--source".
        text: Its value.
        example: Reader that the error message shows where the value names none.

    Raises:
        CorpusError: If there is no "=", no name or no path.

    Example:
        >>> name, path = named_path("--source", "emodb=/data/EMODB")
        >>> name, path.as_posix()
        ('emodb', '/data/EMODB')
    """
    name, _, path = text.partition("=")
    if not name or not path:
        raise CorpusError(f"{argument} {text}: expected NAME=PATH, such as {example_argument(name, example)}")
    return name, expanded(Path(path))
