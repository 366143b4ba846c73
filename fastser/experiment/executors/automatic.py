"""Choice of the executor that `--executor auto` stands for."""

from dataclasses import replace
from typing import TypeVar

from fastser.experiment.options import RunOptions
from fastser.runtime.device import named_device

Options = TypeVar("Options", bound=RunOptions)


def with_named_executor(options: Options) -> Options:
    """Return options in which the name of an executor replaces "auto".

    On a CPU, runs of one thread side by side finish a grid sooner than one run with all threads (docs/performance.md).
    A GPU is left to one run at a time.

    Raises:
        DeviceError: If `--device` names no device, or a device that is not there.
    """
    if options.executor != "auto":
        return options
    on_gpu = named_device(options.device).type == "cuda"
    return replace(options, executor="serial" if on_gpu else "processes")
