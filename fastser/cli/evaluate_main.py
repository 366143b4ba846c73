"""The way from the options of `python -m fastser.evaluate` to a printed table."""

from pathlib import Path
from typing import Any

from fastser.cli.console import make_console, say
from fastser.cli.evaluate_options import EvaluateOptions
from fastser.cli.options import UsageError
from fastser.cli.writable import writable_folder
from fastser.experiment.own_models import OwnModelError, imported, name_of
from fastser.robustness import evaluate
from fastser.runtime.device import named_device
from fastser.settings import PAPER


def evaluate_and_print(options: EvaluateOptions) -> int:
    """Test the model, write the files and print the table.

    Raises:
        UserError: If arguments or data cannot be used.
    """
    corpus = options.corpus()
    out = writable_folder(options.out, "--out")
    device = named_device(options.device)
    settings = PAPER.override(options.set)
    result = evaluate(
        made(options.model) if options.model is not None else str(options.weights),
        corpus,
        noise=options.noise,
        inputs=options.inputs,  # type: ignore[arg-type]  # checked there
        classes=_names(options.classes),
        normalisation=_normalisation(options.normalisation),
        speakers=_names(options.speakers),
        split=options.split,
        allow_leakage=options.allow_leakage,
        allow_bad_files=options.allow_bad_files,
        title=options.title or (name_of(options.model) if options.model else None),
        conditions=_names(options.conditions) or ("paper",),
        settings=settings,
        device=device,
        seed=options.seed,
        out=out / "conditions",
    )
    page = result.save(out)  # before anything is printed: a full disk or a closed pipe then costs output only
    say(make_console(), str(result), f"report: {page}")
    return 0


def made(target: str) -> Any:
    """Import `package.module:make_model`, call it and return its result.

    Raises:
        OwnModelError: If there is no such module or function, or it fails.
    """
    make = imported(target, Path.cwd())
    try:
        return make()
    except Exception as error:  # other people's code can fail in any way
        raise OwnModelError(f"--model {target}: the function fails: {type(error).__name__}: {error}") from error


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(","))


def _normalisation(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        mean, std = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--normalisation {text}: expected MEAN,STD in decibels, such as -35.2,17.9") from None
    return mean, std
