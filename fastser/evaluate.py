"""Door `fastser.evaluate(model, ...)` and `python -m fastser.evaluate`: robustness of anybody's model.

The module can be called. So `fastser.evaluate(...)` works whether or not the module was imported before.
"""

import sys
from types import ModuleType
from typing import Any

HELP = """Test a model under noise, attacks and other changes of the speech.

--model names a function without arguments that returns a torch.nn.Module or a callable on NumPy arrays. --weights takes
a model that fastser has trained. One of the two is needed.

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
    from fastser.cli.door import run_command
    from fastser.cli.evaluate_options import EvaluateOptions

    run_command(EvaluateOptions, run, HELP)


def run(options: Any) -> int:
    """Run the command with parsed options, and turn errors into one sentence and an exit status."""
    from fastser.cli.door import CONTINUES, announce, status_of

    def checked() -> int:
        from fastser.cli.checks import check_evaluate

        check_evaluate(options)
        announce()
        from fastser.cli.evaluate_main import evaluate_and_print  # imports torch, which wrong arguments do without

        return evaluate_and_print(options)

    return status_of(checked, CONTINUES)


if __name__ == "__main__":
    main()
