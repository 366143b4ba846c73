"""Door `python -m fastser.export`: a trained model as an ONNX file."""

from fastser.cli.door import announce, run_command, status_of
from fastser.cli.export_options import ExportOptions

HELP = """Write a trained model as an ONNX file, which takes waveforms and returns posteriors.

The file holds everything that fastser does to a recording after decoding: level, spectrogram, segments, network and
the mean over segments. It is run in onnxruntime beside the model, and kept only if their posteriors agree to 1e-4.
Needs the extra onnx: pip install 'fastser[onnx]', or '.[onnx]' in a clone.

Exit status: 0 written; 2 unusable arguments or model, or no agreement; 130 interrupted.
"""


def export(options: ExportOptions) -> int:
    """Run the command with parsed options, and turn errors into one sentence and an exit status."""

    def run() -> int:
        from fastser.cli.checks import check_export

        check_export(options)
        announce()
        from fastser.cli.export_main import export_and_check  # imports torch, which wrong arguments do without

        return export_and_check(options)

    return status_of(run, "interrupted; nothing was written")


def main() -> None:
    """Run the command line and exit with its status."""
    run_command(ExportOptions, export, HELP)


if __name__ == "__main__":
    main()
