"""Door `python -m fastser.compare`: two results folders side by side."""

from fastser.cli.compare_options import CompareOptions
from fastser.cli.door import BEGINS_ANEW, announce, run_command, status_of

HELP = """Compare the runs of two results folders, paired by task, model, augmentation, condition, fold and repeat.

The difference is B minus A, with its 95 % interval over speakers and the p-value of a permutation test. Runs without a
partner are left out and counted.

Exit status: 0 compared; 2 folders that cannot be compared.
"""


def compare(options: CompareOptions) -> int:
    """Run the command with parsed options, and turn errors into one sentence and an exit status."""

    def run() -> int:
        from fastser.cli.checks import check_compare

        check_compare(options)
        announce()
        from fastser.cli.compare_main import run as compare_folders  # imports torch, which wrong arguments do without

        return compare_folders(options)

    return status_of(run, BEGINS_ANEW)


def main() -> None:
    """Run the command line and exit with its status."""
    run_command(CompareOptions, compare, HELP)


if __name__ == "__main__":
    main()
