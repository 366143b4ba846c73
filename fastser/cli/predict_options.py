"""Options of `python -m fastser.predict`. Torch is not imported here, so that `--help` is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastser.cli.options import UsageError
from fastser.runtime.options import option

Format = Literal["csv", "jsonl"]
"""Format of predictions."""

_BY_SUFFIX: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Arguments of the command line. Each field is one argument or option, in the order of `--help`."""

    inputs: tuple[str, ...] = option(
        (),
        "A model (a .safetensors file, or the name of a packaged model. Default: emodb, the packaged one), then audio "
        "files and folders. - reads a list of files from standard input, one a line.",
        metavar="[MODEL] FILE...",
        positional=True,
    )
    out: Path | None = option(
        None, "File of the predictions. Files that it already holds are skipped. Default: standard output.", metavar="F"
    )
    per: str = option("file", "file: one prediction of each file. segment: one of each segment.", metavar="UNIT")
    hop: float | None = option(
        None, "Seconds from one segment to the next. Default: as in the training.", metavar="SECONDS"
    )
    format: str | None = option(None, "csv or jsonl. Default: by the ending of --out, else csv.", metavar="NAME")
    plot: Path | None = option(
        None, "Draw spectrogram and posteriors of a single file over time, as PNG.", metavar="FILE.png"
    )
    device: str = option("auto", "cpu, cuda, cuda:1, or auto.", metavar="NAME")

    def chosen_format(self) -> Format:
        """Return the format of the predictions.

        Raises:
            UsageError: If `--format` has another value.
        """
        if self.format is None:
            return _BY_SUFFIX.get(self.out.suffix.lower() if self.out else "", "csv")
        if self.format not in ("csv", "jsonl"):
            raise UsageError(f"--format {self.format}: expected csv or jsonl")
        return self.format  # type: ignore[return-value]  # one of the two
