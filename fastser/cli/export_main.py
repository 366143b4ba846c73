"""The way from the options of `python -m fastser.export` to an ONNX file."""

from fastser.cli.console import make_console, say
from fastser.cli.export_options import ExportOptions
from fastser.cli.writable import writable_file
from fastser.recognition.onnx_file import write_onnx
from fastser.recognition.packaged_models import model_path


def export_and_check(options: ExportOptions) -> int:
    """Write the ONNX file, and print its size and its largest difference from the recogniser.

    Raises:
        UserError: If arguments cannot be used, or the file does not agree.
    """
    model, given = options.paths()
    out = writable_file(given)
    found = write_onnx(model_path(model), out)
    say(
        make_console(),
        f"{out}: {out.stat().st_size / 1e6:.2f} MB, waveform [batch, samples] -> posteriors [batch, classes]",
        f"posteriors in onnxruntime {found.runtime} and of the recogniser differ by at most {found.largest:.1e} "
        f"({found.waveforms} synthetic waveforms)",
    )
    return 0
