"""Plugin of pytest that runs the kernel cases from the PTX of the kernels.

`PYTHONPATH=tests pytest -p ptx_machine.tier -m ptx tests/kernels` runs all of them. Operations on CPU tensors then go
to the Triton launchers, and every launch is compiled for sm_80 and executed by the machine.
"""

from collections.abc import Iterator

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the kernel cases that need no GPU with `ptx`."""
    for item in items:
        if item.get_closest_marker("kernel") and not item.get_closest_marker("gpu"):
            item.add_marker("ptx")


@pytest.fixture(autouse=True)
def kernels_in_the_machine(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run the launches of a kernel case in the machine."""
    if not request.node.get_closest_marker("kernel"):
        yield
        return
    from fastser_kernels.launch import launched_by

    from ptx_machine.launches import execute

    with launched_by(execute):
        yield
