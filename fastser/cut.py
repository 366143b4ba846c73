"""Door `python -m fastser.cut`: segments of longer recordings as files of their own."""

from fastser.cli.cut_options import CutOptions
from fastser.cli.door import CONTINUES, run_command, status_of

HELP = """Cut segments of longer recordings into files of their own, with a manifest.

Example: python -m fastser.cut segments.csv OUT

SOURCE is a CSV file with the columns file, start, end, speaker, emotion, or audformat=FOLDER with segmented tables.
Times are seconds or durations such as 0 days 00:00:01.5, and an empty end is that of the recording. The files in
OUT/audio keep sample rate, channels and samples. All other commands read the result as
--source manifest=OUT/manifest.csv. The same command continues where it was stopped.

Exit status: 0 cut; 2 unusable arguments, or segments that cannot be cut; 130 interrupted, the same command
continues.
"""


def cut(options: CutOptions) -> int:
    """Run the command with parsed options, and turn errors into one sentence and an exit status."""
    from fastser.cli.cut_main import run

    return status_of(lambda: run(options), CONTINUES)


def main() -> None:
    """Run the command line and exit with its status."""
    run_command(CutOptions, cut, HELP)


if __name__ == "__main__":
    main()
