"""Options of `python -m fastser.predict`. Torch is not imported here, so that `--help` is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastser.cli.options import UsageError
from fastser.runtime.files import printable
from fastser.runtime.options import option

Format = Literal["csv", "jsonl"]
"""Format of predictions."""

_BY_SUFFIX: dict[str, Format] = {"": "csv", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


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
            UsageError: If `--format` has another value, or is missing and `--out` has another ending.
        """
        if self.format is None:
            if self.out is None:
                return "csv"
            suffix = self.out.suffix
            if suffix.lower() not in _BY_SUFFIX:
                known = ", ".join(filter(None, _BY_SUFFIX))
                raise UsageError(
                    f"--out {printable(self.out)}: the ending {printable(suffix)} is none of {known}; change it, or "
                    "give --format csv or jsonl"
                )
            return _BY_SUFFIX[suffix.lower()]
        if self.format not in ("csv", "jsonl"):
            raise UsageError(f"--format {self.format}: expected csv or jsonl")
        return self.format  # type: ignore[return-value]  # one of the two

    def checked_plot(self) -> Path | None:
        """Return the file of the timeline, or None if none is drawn.

        Raises:
            UsageError: If the file does not end in .png.
        """
        if self.plot is not None and self.plot.suffix.lower() != ".png":
            raise UsageError(f"--plot {printable(self.plot)}: the timeline is a PNG image; expected the ending .png")
        return self.plot
