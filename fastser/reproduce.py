"""Door `python -m fastser.reproduce`: the tables and the figure of Latif et al. 2020."""

import logging
import shlex
import signal
import sys
from typing import Any

import typer

from fastser.cli.command import RepeatedOptionError, command_of, refuse_repeated
from fastser.cli.options import CliOptions
from fastser.runtime.openmp import bound_spinning

HELP = """Reproduce Latif et al. 2020: speech emotion recognition under noise, adversarial attack and corpus change.

Without --source, --target and --noise, small synthetic stand-ins for IEMOCAP, MSP-IMPROV and DEMAND are made and used.
The same command continues where it was stopped, and repeats no finished run.

Models: cnn, cnn-lstm, densenet, densenet-lstm, proposed. Augmentations: none, speed, mixup, speed+mixup.

Exit status: 0 all done; 1 some runs failed; 2 unusable arguments or data; 130 interrupted.
"""


def reproduce(options: CliOptions) -> int:
    """Run the command with parsed options, and turn errors into one sentence and an exit status."""
    from fastser.cli.main import USER_ERRORS, run  # imports torch, which --help does without
    from fastser.experiment.executors.failures import in_one_sentence, is_out_of_memory

    try:
        return run(options, shlex.join(["python", "-m", "fastser.reproduce", *sys.argv[1:]]))
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"error: {in_one_sentence(error)}; choose smaller settings or a smaller corpus", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command continues where it was", file=sys.stderr)
        return 130


def main() -> None:
    """Run the command line and exit with its status."""
    bound_spinning()
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    signal.signal(signal.SIGTERM, _interrupt)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(command_of(CliOptions, reproduce, HELP))
    try:
        refuse_repeated(CliOptions, sys.argv[1:])
        status = app(standalone_mode=False)
    except typer.TyperException as error:
        print(f"error: {error.format_message()}", file=sys.stderr)
        status = 2
    except RepeatedOptionError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    sys.exit(status)


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
