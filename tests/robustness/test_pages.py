"""Tables of a robustness test, as text and as LaTeX."""

import pytest

from fastser.robustness.pages import Table

pytestmark = pytest.mark.fast

TABLE = Table(("condition", "change", "p"), [("noise_0db ± 1", "-12.5", "<0.001"), ("gain", "", "1.000")])


def test_a_table_of_text_is_aligned_below_a_ruled_header() -> None:
    assert TABLE.text().splitlines() == [
        "condition      change       p",
        "-----------------------------",
        "noise_0db ± 1   -12.5  <0.001",
        "gain                    1.000",
    ]


def test_a_table_in_latex_escapes_as_the_tables_of_the_report_do() -> None:
    assert r"noise\_0db $\pm$ 1 & -12.5 & \textless{}0.001 \\" in TABLE.latex().splitlines()
