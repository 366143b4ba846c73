"""Options of `python -m fastser.cut`. Torch is not imported here, so that `--help` is quick."""

from dataclasses import dataclass
from pathlib import Path

from fastser.runtime.options import option


@dataclass(frozen=True, kw_only=True)
class CutOptions:
    """Arguments of the command line. Each field is one option, in the order of `--help`."""

    source: str | None = option(
        None,
        "Segments: a CSV file, audformat=FOLDER or audformat=FOLDER/db.TABLE.csv.",
        metavar="SOURCE",
        positional=True,
    )
    out: Path | None = option(None, "Folder of manifest.csv and audio/.", metavar="OUT", positional=True)
