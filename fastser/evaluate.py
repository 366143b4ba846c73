"""Door `fastser.evaluate(model, ...)` and `python -m fastser.evaluate`: robustness of anybody's model.

The module can be called. So `fastser.evaluate(...)` works whether or not the module was imported before.
"""

import logging
import sys
from types import ModuleType
from typing import Any

HELP = """Test a model under noise, attacks and other changes of the speech.

MODEL is package.module:make_model, a function without arguments that returns a torch.nn.Module or a callable on NumPy
arrays, or a file of weights that fastser.reproduce --keep-models wrote.

Exit status: 0 all done; 2 unusable arguments or data; 130 interrupted, the same command continues.
"""


class _Door(ModuleType):
    """A module that is called like its function `evaluate`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call `fastser.robustness.evaluate`."""
        from fastser.robustness import evaluate

        return evaluate(*args, **kwargs)


sys.modules[__name__].__class__ = _Door


def main() -> None:
    """Run the command line and exit with its status."""
    import signal

    import typer

    from fastser.cli.command import RepeatedOptionError, command_of, refuse_repeated
    from fastser.cli.evaluate_options import EvaluateOptions
    from fastser.runtime.openmp import bound_spinning

    bound_spinning()
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(command_of(EvaluateOptions, run, HELP))
    try:
        refuse_repeated(EvaluateOptions, sys.argv[1:])
        status = app(standalone_mode=False)
    except typer.TyperException as error:
        print(f"error: {error.format_message()}", file=sys.stderr)
        status = 2
    except RepeatedOptionError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    sys.exit(status)


def run(options: Any) -> int:
    """Run the command with parsed options, and turn errors into one sentence and an exit status."""
    from fastser.cli.evaluate_main import USER_ERRORS, evaluate_and_print

    try:
        return evaluate_and_print(options)
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command continues where it was", file=sys.stderr)
        return 130


if __name__ == "__main__":
    main()
