"""Progress of the phases before the first run."""

import io

import pytest
from rich.console import Console

from fastser.cli.file_counter import file_counter
from fastser.cli.steps import steps


@pytest.mark.fast
def test_without_a_terminal_a_phase_is_one_line_at_its_first_step() -> None:
    console = Console(file=io.StringIO(), width=80)
    with steps("timing the models", 2, console) as step:
        assert console.file.getvalue() == ""  # type: ignore[attr-defined]
        step("cnn")
        assert console.file.getvalue() == "timing the models ...\n"  # type: ignore[attr-defined]
        step("proposed")
    assert console.file.getvalue() == "timing the models ...\n"  # type: ignore[attr-defined]


@pytest.mark.fast
@pytest.mark.parametrize("total", [2, None])
def test_in_a_terminal_a_phase_has_a_bar_that_leaves_nothing(total: int | None) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, _environ={"TERM": "xterm"})
    with steps("timing the models", total, console) as step:
        step("cnn")
        step("proposed")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "timing the models" in shown
    assert "proposed" in shown
    assert ("1/2" in shown) == (total is not None)
    assert not shown.endswith("timing the models\n")


@pytest.mark.fast
def test_the_bar_of_decoded_files_ends_with_the_last_file() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, _environ={"TERM": "xterm"})
    with file_counter("EMO-DB", 2, console) as count:
        count()
        count()
        assert console.file.getvalue().count("2 files decoded in") == 1  # type: ignore[attr-defined]
        with steps("spectrograms", None, console) as step:  # another bar can begin now
            step()
    assert console.file.getvalue().count("files decoded in") == 1  # type: ignore[attr-defined]
