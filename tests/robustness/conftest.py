"""Fixtures of the tests of robustness: the smallest stand-in corpora as NAME=PATH."""

from pathlib import Path

import pytest
from small_models import Corpora

from fastser.data.corpora.synthetic import generate
from fastser.runtime.files import cache_at


@pytest.fixture
def corpora(stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> Corpora:
    monkeypatch.setenv("FASTSER_CACHE", str(stand_ins / "cache"))
    with cache_at(stand_ins / "cache"):
        made = generate(stand_ins, utterances_per_class=1)
    return Corpora(f"iemocap={made.iemocap}", f"demand={made.demand}")
