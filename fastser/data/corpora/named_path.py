"""NAME=PATH, the argument that names a corpus by its reader and its place."""

from pathlib import Path

from fastser.runtime.files import expanded

from .base import CorpusError
from .manifest import command_for
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
        refused = f"{argument} {text}: expected NAME=PATH, such as {example_argument(name, example)}"
        if example == "emodb" and expanded(Path(text)).is_dir():
            refused += f"; a folder of your own needs a manifest first, {command_for(Path(text))}"
        raise CorpusError(refused)
    return name, expanded(Path(path))
