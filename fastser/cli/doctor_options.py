"""Options of `python -m fastser.doctor`. Torch is not imported here, so that `--help` is quick."""

from dataclasses import dataclass
from pathlib import Path

from fastser.runtime.options import option


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Arguments of the command line. Each field is one option, in the order of `--help`."""

    source: str | None = option(
        None, "Speech to examine: iemocap=PATH, emodb=PATH, manifest=FILE.csv ...", metavar="NAME=PATH"
    )
    target: str | None = option(
        None, "Second corpus, compared with the first one: ravdess=PATH ...", metavar="NAME=PATH"
    )
    noise: str | None = option(None, "Noise recordings to examine: demand=PATH or folder=PATH.", metavar="NAME=PATH")
    classes: str | None = option(
        None,
        "Emotions of the folds. all: every label of the corpus. Default: the four of the paper if the corpus has them, "
        "else all.",
        metavar="A,B",
    )
    out: Path = option(Path("doctor"), "Folder for page, pictures, folds and tables of files.", metavar="DIR")
    device: str = option("auto", "cpu, cuda, cuda:1, or auto.", metavar="NAME")
    set: tuple[str, ...] = option(
        (), "Change a setting, such as noise.scenes=cafe,street. May be repeated.", metavar="NAME=VALUE"
    )
