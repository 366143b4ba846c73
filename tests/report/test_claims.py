"""The paper's claims, judged on made-up runs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_up import SOURCE_CONDITIONS, EditPaper, confusion, context, finished, run_id, with_table_4
from scipy.stats import ttest_ind

from fastser.augmentation import AUGMENTATIONS
from fastser.experiment.store import Run
from fastser.experiment.tasks import TASKS
from fastser.models import MODELS
from fastser.report.claims import Judgement, judge
from fastser.report.published import published


def judged(along: str, **changes: Any) -> list[Judgement]:
    """Return the judgements of the claims that compare models, augmentations or studies."""
    texts = {claim.text for claim in published().claim if claim.along == along}
    return [judgement for judgement in judge(context(**changes)) if judgement.claim in texts]


def test_claims_hold_where_every_difference_is_significant() -> None:
    verdicts = judge(context())
    assert len(verdicts) == sum(len(claim.tasks) * len(claim.conditions) for claim in published().claim)
    for along in ("model", "augmentation"):
        assert {judgement.verdict for judgement in judged(along)} == {"holds"}


def test_claims_do_not_hold_where_one_difference_is_significantly_reversed() -> None:
    def swapped(run: Run) -> Run:
        model = {"proposed": "cnn", "cnn": "proposed"}.get(run.id.point.model, run.id.point.model)
        return replace(run, id=replace(run.id, point=replace(run.id.point, model=model)))

    verdicts = judged("model", runs=[swapped(run) for run in context().runs])
    assert {judgement.verdict for judgement in verdicts} == {"does not hold"}


@pytest.mark.parametrize(("repeats", "share", "because"), [(1, 1.0, "one repeat"), (4, 0.99, "297 of 300|runs are")])
def test_claims_that_cannot_be_judged(repeats: int, share: float, because: str) -> None:
    runs = context(repeats).runs
    verdicts = judge(context(repeats, runs=runs[: int(share * len(runs))]))
    undecided = [j for j in verdicts if any(part in j.because for part in because.split("|"))]
    assert undecided
    assert {j.verdict for j in undecided} == {"not decided"}


@pytest.mark.parametrize("shift", [0, 2, 4, 6, 9])
def test_claims_agree_with_scipy_on_a_single_comparison(shift: int, monkeypatch: pytest.MonkeyPatch) -> None:
    low, high = np.array([50, 53, 55, 51]), shift + np.array([51, 50, 54, 58, 52])
    runs = [
        finished(run_id("cross", "proposed", augmentation, "all", repeat), {"cross-corpus": confusion(uar)})
        for augmentation, uars in (("none", low), ("speed", high))
        for repeat, uar in enumerate(uars)
    ]
    claim = next(c for c in published().claim if c.worst).model_copy(
        update={"worst": None, "rising": ("none", "speed")}
    )
    only = published().model_copy(update={"claim": [claim]})
    monkeypatch.setattr("fastser.report.claims.published", lambda: only)
    (judgement,) = judge(context(expected=[run.id for run in runs], runs=runs))
    significant = ttest_ind(high, low, equal_var=False).pvalue < 0.05
    assert judgement.verdict == ("holds" if significant else "not decided")


PAPER_CORPORA = {"source_title": "IEMOCAP", "target_title": "MSP-IMPROV"}


@pytest.mark.parametrize(("uars", "verdict"), [((40.0, 55.5), "holds"), ((40.0, 90.0), "does not hold")])
def test_studies_are_compared_once_their_numbers_are_added(
    edit_paper: EditPaper, uars: tuple[float, ...], verdict: str
) -> None:
    edit_paper(lambda text: with_table_4(text, *uars))
    (judgement,) = judged("study", **PAPER_CORPORA)
    assert judgement.verdict == verdict


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {**PAPER_CORPORA, "synthetic": frozenset({"target"})},
        {**PAPER_CORPORA, "classes": ("angry", "bored", "neutral", "sad")},
    ],
)
def test_studies_are_not_compared_with_other_speech(edit_paper: EditPaper, changes: dict[str, Any]) -> None:
    edit_paper(lambda text: with_table_4(text, 40.0, 55.5))
    (judgement,) = judged("study", **changes)
    assert judgement.verdict == "not decided"
    assert "other speech" in judgement.because


def test_studies_are_not_compared_while_one_number_is_unknown(edit_paper: EditPaper) -> None:
    edit_paper(lambda text: with_table_4(text, 40.0))
    (judgement,) = judged("study", **PAPER_CORPORA)
    assert judgement.verdict == "not decided"
    assert published().unknown in judgement.because


@pytest.mark.fast
def test_every_claim_names_known_things() -> None:
    names = {*MODELS, *AUGMENTATIONS}
    for claim in published().claim:
        assert names >= {*claim.at, *claim.rising, *filter(None, (claim.best, claim.worst))}
        assert {*claim.conditions} <= {*SOURCE_CONDITIONS, "cross-corpus"}
        assert {*claim.tasks} <= {*TASKS}
