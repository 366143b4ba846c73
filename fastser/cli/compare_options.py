"""Options of `python -m fastser.compare`. Torch is not imported here, so that `--help` is quick."""

from dataclasses import dataclass
from pathlib import Path

from fastser.cli.options import UsageError
from fastser.runtime.files import expanded
from fastser.runtime.options import option


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Arguments of the command line. Each field is one option, in the order of `--help`."""

    first: Path | None = option(None, "Results folder of the first experiment.", metavar="OUT_A", positional=True)
    second: Path | None = option(None, "Results folder of the second experiment.", metavar="OUT_B", positional=True)
    out: Path = option(Path("comparison"), "Folder of comparison.md and comparison.csv.", metavar="DIR")

    def folders(self) -> tuple[Path, Path]:
        """Return the two results folders.

        Raises:
            UsageError: If one of them is missing.
        """
        if self.first is None or self.second is None:
            raise UsageError("give two results folders: python -m fastser.compare OUT_A OUT_B")
        return expanded(self.first), expanded(self.second)
