"""Door `python -m fastser.sensitivity`: how far the answers to open questions move the result."""

import sys

from fastser.cli.config import command_text
from fastser.cli.door import CONTINUES, announce, run_command, status_of
from fastser.cli.sensitivity_options import SensitivityOptions

HELP = """Change the answer to one open question of Latif et al. 2020 at a time, and compare with the baseline.

The baseline has the answers of --scale and --set. Every other answer is trained and tested on the same folds with the
same seeds. --vary compares settings of your own with the baseline in the same way. Without --source, --target and
--noise, small synthetic stand-ins are made and used. The same command continues where it was stopped, and repeats no
finished run.

Exit status: 0 all done; 1 some runs failed; 2 unusable arguments or data; 130 interrupted.
"""


def sensitivity(options: SensitivityOptions) -> int:
    """Run the command with parsed options, and turn errors into one sentence and an exit status."""
    command = command_text("fastser.sensitivity", SensitivityOptions, sys.argv[1:])

    def run() -> int:
        from fastser.cli.checks import check_grid

        check_grid(options)
        announce()
        from fastser.cli.sensitivity_main import run as run_answers  # imports torch, which wrong arguments do without

        return run_answers(options, command)

    return status_of(run, CONTINUES)


def main() -> None:
    """Run the command line and exit with its status."""
    run_command(SensitivityOptions, sensitivity, HELP)


if __name__ == "__main__":
    main()
