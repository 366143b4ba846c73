"""Options of `python -m fastser.export`. Torch is not imported here, so that `--help` is quick."""

from dataclasses import dataclass
from pathlib import Path

from fastser.cli.options import UsageError
from fastser.runtime.options import option

_SUFFIX = ".onnx"


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Arguments of the command line, in the order of `--help`."""

    model: str | None = option(
        None, "A .safetensors file, or the name of a packaged model (emodb).", metavar="MODEL", positional=True
    )
    out: Path | None = option(None, "The ONNX file to write.", metavar="FILE.onnx", positional=True)

    def paths(self) -> tuple[str, Path]:
        """Return the model and the file to write.

        Raises:
            UsageError: If one of them is missing, or the file does not end in `.onnx`.
        """
        if self.model is None or self.out is None:
            raise UsageError("give the model and the file to write, such as MODEL.safetensors model.onnx")
        if self.out.suffix != _SUFFIX:
            raise UsageError(f"{self.out}: the file to write must end in {_SUFFIX}; the model comes first")
        return self.model, self.out
