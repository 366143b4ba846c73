"""Door `python -m fastser.doctor`: an examination of machine, corpora and folds before anything is trained."""

import sys

from fastser.cli.config import command_text
from fastser.cli.doctor_options import DoctorOptions
from fastser.cli.door import BEGINS_ANEW, announce, run_command, status_of

HELP = """Examine this machine, corpora and folds before anything is trained.

Without corpora, versions, kernels, cache and disk are examined. Each finding is one sentence with ok, note, warning or
error. An error is a fault that can be repaired, such as a missing file or a wrong kernel. OUT/doctor.html and
OUT/doctor.md have all findings, tables and pictures, OUT/folds one CSV file for each corpus.

Exit status: 0 no error was found; 1 an error was found; 2 unusable arguments; 130 interrupted.
"""


def doctor(options: DoctorOptions) -> int:
    """Run the command with parsed options, and turn errors into one sentence and an exit status."""
    command = command_text("fastser.doctor", DoctorOptions, sys.argv[1:])

    def run() -> int:
        from fastser.cli.checks import check_doctor

        check_doctor(options)
        announce()
        from fastser.cli.doctor_main import run as examine  # imports torch, which wrong arguments do without

        return examine(options, command)

    return status_of(run, BEGINS_ANEW)


def main() -> None:
    """Run the command line and exit with its status."""
    run_command(DoctorOptions, doctor, HELP)


if __name__ == "__main__":
    main()
