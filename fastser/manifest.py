"""Door `python -m fastser.manifest`: a manifest of any corpus, written from its file names."""

from fastser.cli.door import run_command, status_of
from fastser.cli.manifest_options import ManifestOptions

HELP = """Write the manifest of a corpus from its file names, and show what was understood.

Example: python -m fastser.manifest AUDIO --pattern '{speaker}_{emotion}_*.wav' --map ANG=angry --out manifest.csv

Audio files below FOLDER whose names do not match are listed and left out. An ambiguous pattern is refused. All other
commands read the result as --source manifest=manifest.csv.

Exit status: 0 understood; 2 unusable arguments or no file that matches.
"""


def manifest(options: ManifestOptions) -> int:
    """Run the command with parsed options, and turn errors into one sentence and an exit status."""
    from fastser.cli.manifest_main import run

    return status_of(lambda: run(options), "interrupted; nothing was written")


def main() -> None:
    """Run the command line and exit with its status."""
    run_command(ManifestOptions, manifest, HELP)


if __name__ == "__main__":
    main()
