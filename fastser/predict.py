"""Door `python -m fastser.predict`: labels of audio files."""

import sys

from fastser.cli.door import BEGINS_ANEW, CONTINUES, announce, run_command, status_of
from fastser.cli.predict_options import PredictOptions

HELP = """Label audio files with a trained model.

The predictions have the columns file, start, end, label and, for each class, its posterior p_CLASS. Start and end are
written as audformat and pandas do. The same command continues --out where it was stopped.

Exit status: 0 all files labelled; 1 some files are unusable, they are named; 2 no file or argument is usable; 130
interrupted.
"""


def predict(options: PredictOptions) -> int:
    """Run the command with parsed options, and turn errors into one sentence and an exit status."""

    def run() -> int:
        from fastser.cli.predict_request import request_of

        request = request_of(options)
        announce(sys.stderr if options.out is None else sys.stdout)  # without --out, standard output has predictions
        from fastser.cli.predict_main import predict_and_write  # imports torch, which wrong arguments do without

        return predict_and_write(request)

    return status_of(run, BEGINS_ANEW if options.out is None else CONTINUES)


def main() -> None:
    """Run the command line and exit with its status."""
    run_command(PredictOptions, predict, HELP)


if __name__ == "__main__":
    main()
