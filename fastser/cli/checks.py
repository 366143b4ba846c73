"""Checks of arguments that need no PyTorch, so that a wrong one is answered before the seconds of its import.

The commands call the same functions again where they need the results.
"""

from fastser.cli.compare_options import CompareOptions
from fastser.cli.doctor_options import DoctorOptions
from fastser.cli.evaluate_options import EvaluateOptions
from fastser.cli.export_options import ExportOptions
from fastser.cli.options import CliOptions, GridOptions
from fastser.cli.train_options import TrainOptions
from fastser.cli.writable import writable_file, writable_folder
from fastser.experiment.results_folder import require_results_folder
from fastser.experiment.roles import check_arguments
from fastser.recognition.packaged_models import model_path
from fastser.runtime.files import expanded
from fastser.settings import PAPER


def check_reproduce(options: CliOptions) -> None:
    """Check the arguments of `python -m fastser.reproduce`.

    Raises:
        UserError: If a table, a setting or a corpus does not exist.
    """
    options.tables()
    check_grid(options)


def check_grid(options: GridOptions) -> None:
    """Check the arguments that commands with a grid of runs share.

    Raises:
        UserError: If a setting or a corpus does not exist.
    """
    options.settings()
    options.kernel_mode()
    check_arguments(options.source, options.target, options.noise)


def check_doctor(options: DoctorOptions) -> None:
    """Check the arguments of `python -m fastser.doctor`.

    Raises:
        UserError: If the folder cannot be written, or a setting or a corpus does not exist.
    """
    writable_folder(options.out, "--out")
    PAPER.override(options.set)
    check_arguments(options.source, options.target, options.noise)


def check_train(options: TrainOptions) -> None:
    """Check the arguments of `python -m fastser.train`.

    Raises:
        UserError: If the folder cannot be written, or a setting, the corpus or the results folder does not exist.
    """
    source = options.corpus()
    options.settings()
    options.kernel_mode()
    writable_folder(options.out, "--out")
    check_arguments(source, None, None)
    if options.results is not None:
        require_results_folder(expanded(options.results))


def check_evaluate(options: EvaluateOptions) -> None:
    """Check the arguments of `python -m fastser.evaluate`.

    Raises:
        UserError: If the folder cannot be written, or a setting, a corpus or the file of weights does not exist.
    """
    source = options.corpus()
    writable_folder(options.out, "--out")
    PAPER.override(options.set)
    check_arguments(source, None, options.noise)
    if options.weights is not None:
        model_path(options.weights)


def check_export(options: ExportOptions) -> None:
    """Check the arguments of `python -m fastser.export`.

    Raises:
        UserError: If the model does not exist, or the file cannot be written.
    """
    model, out = options.paths()
    writable_file(out)
    model_path(model)


def check_compare(options: CompareOptions) -> None:
    """Check the arguments of `python -m fastser.compare`.

    Raises:
        UserError: If a folder is missing or holds no results, or `--out` cannot be written.
    """
    folders = options.folders()
    writable_folder(options.out, "--out")
    for folder in folders:
        require_results_folder(folder)
