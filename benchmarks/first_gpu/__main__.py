"""One stage of the first measurements: `python -m benchmarks.first_gpu STAGE --out FOLDER [--device cpu]`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.first_gpu.operations import measure_operations
from benchmarks.first_gpu.page import page, results
from benchmarks.first_gpu.rows import read
from benchmarks.first_gpu.self_tests import run_self_tests
from benchmarks.first_gpu.steps import measure_steps
from fastser.models import MODELS
from fastser.runtime.device import named_device


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.first_gpu", description=__doc__)
    parser.add_argument("stage", choices=("self-tests", "steps", "operations", "page"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the stage with small models")
    parser.add_argument("--models", default=",".join(MODELS), help="models of the stage 'steps'")
    parser.add_argument("--cases", type=int, help="largest number of cases of the stage 'operations'")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one stage. Without arguments, take those of the command line.

    Raises:
        SystemExit: With status 1, if something has no time because it is wrong or failed.
    """
    options = parser().parse_args(arguments)
    device = named_device(options.device)
    if options.stage == "self-tests":
        run_self_tests(options.out, device)
    elif options.stage == "steps":
        measure_steps(options.out, device, options.models.split(","))
    elif options.stage == "operations":
        measure_operations(options.out, device, options.cases)
    else:
        measured = results(options.out, str(device))
        (options.out / "results.json").write_text(json.dumps(measured, indent=1) + "\n")
        (options.out / "page.md").write_text(page(measured))
        print(page(measured))
    if any(row.fault for row in read(options.out, (options.stage,))):
        sys.exit(1)


if __name__ == "__main__":
    main()
