"""Frame of a command: signals, logging, parsing, and errors as one sentence with an exit status."""

import logging
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TextIO, TypeVar

import typer

from fastser import __version__
from fastser.cli.command import application, refuse_repeated
from fastser.cli.config import config_arguments
from fastser.cli.output import Output
from fastser.runtime.errors import UserError
from fastser.runtime.files import printable
from fastser.runtime.openmp import bound_spinning

T = TypeVar("T")

_python_format = warnings.formatwarning


def run_command(options: type[T], run: Callable[[T], int], doc: str) -> None:
    """Parse the command line, run the command and exit with its status.

    Args:
        options: Dataclass of the options.
        run: The command with parsed options. Returns the exit status.
        doc: Text of `--help`.
    """
    bound_spinning()
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    warnings.formatwarning = _format_warning
    signal.signal(signal.SIGTERM, _interrupt)
    arguments = sys.argv[1:]
    try:
        given = [*config_arguments(options, arguments), *arguments]
        refuse_repeated(options, given)
        status = application(options, run, doc)(given, standalone_mode=False)
    except typer.TyperException as error:
        print(f"error: {_parsing_message(error, options)}", file=sys.stderr)
        status = 2
    except UserError as error:  # of the options, or of a file of options
        print(f"error: {error}", file=sys.stderr)
        status = 2
    sys.exit(status)


def _parsing_message(error: typer.TyperException, options: type) -> str:
    """Return the message of a parsing error. An unknown option gets the same hint as an unknown key of `--config`."""
    if not (hasattr(error, "possibilities") and hasattr(error, "option_name")):  # typer does not export the class
        message = error.format_message()
        takes_corpus = "source" in {field.name for field in fields(options)}
        if message.startswith("Got unexpected extra argument") and takes_corpus:
            return f"{message}; a corpus is given as --source NAME=PATH"
        return message
    near = error.possibilities or ()  # the most similar option first
    hint = f"did you mean {near[0]}?" if near else "--help lists the options"
    return f"there is no option {printable(error.option_name)}; {hint}"


def announce(stream: TextIO | None = None) -> None:
    """Print the first line of a command that imports torch, which takes seconds. Print nothing if it is imported.

    Args:
        stream: Stream of the line. Default: standard output.
    """
    if "torch" not in sys.modules:
        output = Output(stream or sys.stdout)
        output.write(f"fastser {__version__}: loading PyTorch\n")
        output.flush()


CONTINUES = "interrupted; the same command continues where it was"
"""Sentence of a command that keeps what it has done."""

BEGINS_ANEW = "interrupted; the same command begins anew"
"""Sentence of a command that keeps nothing."""


def status_of(run: Callable[[], int], interrupted: str) -> int:
    """Run a command and turn errors into one sentence and an exit status.

    Args:
        run: The command. Returns the exit status.
        interrupted: Sentence for a user who has interrupted the command.
    """
    try:
        return run()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        from fastser_kernels.native.library import NativeError  # imports torch, as the next lines do
        from fastser_kernels.trust.trusted import LostDeviceError

        from fastser.runtime.full_memory import full_memory_sentence, is_out_of_memory

        if isinstance(error, NativeError | LostDeviceError):  # the kernels do not know UserError
            print(f"error: {error}", file=sys.stderr)
            return 2
        if not is_out_of_memory(error):
            raise
        print(f"error: {full_memory_sentence(error)}; choose smaller settings or a smaller corpus", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Return a Python warning as text: one of fastser without its place in the source, which tells a user nothing."""
    if category.__module__.partition(".")[0] in ("fastser", "fastser_kernels"):
        return f"warning: {message}\n"
    return _python_format(message, category, filename, lineno, line)


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt
