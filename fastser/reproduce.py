"""Door `python -m fastser.reproduce`: the tables and the figure of Latif et al. 2020."""

import sys

from fastser.cli.config import command_text
from fastser.cli.door import CONTINUES, announce, run_command, status_of
from fastser.cli.options import CliOptions

HELP = """Reproduce Latif et al. 2020: speech emotion recognition under noise, adversarial attack and corpus change.

Without --source, --target and --noise, small synthetic stand-ins for IEMOCAP, MSP-IMPROV and DEMAND are made and used.
The same command continues where it was stopped, and repeats no finished run.

Models: cnn, cnn-lstm, densenet, densenet-lstm, proposed. Augmentations: none, speed, mixup, speed+mixup.

Exit status: 0 all done; 1 some runs failed; 2 unusable arguments or data; 130 interrupted.
"""


def reproduce(options: CliOptions) -> int:
    """Run the command with parsed options, and turn errors into one sentence and an exit status."""
    command = command_text("fastser.reproduce", CliOptions, sys.argv[1:])

    def run() -> int:
        from fastser.cli.checks import check_reproduce

        check_reproduce(options)
        announce()
        from fastser.cli.main import run as run_grid  # imports torch, which wrong arguments do without

        return run_grid(options, command)

    return status_of(run, CONTINUES)


def main() -> None:
    """Run the command line and exit with its status."""
    run_command(CliOptions, reproduce, HELP)


if __name__ == "__main__":
    main()
