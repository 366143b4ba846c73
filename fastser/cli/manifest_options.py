"""Options of `python -m fastser.manifest`. Torch is not imported here, so that `--help` is quick."""

from dataclasses import dataclass
from pathlib import Path

from fastser.runtime.options import option


@dataclass(frozen=True, kw_only=True)
class ManifestOptions:
    """Arguments of the command line. Each field is one option, in the order of `--help`."""

    folder: Path | None = option(None, "Folder that is searched at any depth.", metavar="FOLDER", positional=True)
    pattern: str | None = option(
        None,
        "Pattern of the file names: fields {speaker}, {emotion}, {session}, {split}, {text}, and * for anything else. "
        "A pattern with / is matched against the end of the path.",
        metavar="TEXT",
    )
    map: tuple[str, ...] = option(
        (), "Label for an emotion of the file names, such as ANG=angry. May be repeated.", metavar="NAME=LABEL"
    )
    out: Path | None = option(
        None, "CSV file to write. Without it, the command only shows what it understood.", metavar="FILE.csv"
    )
