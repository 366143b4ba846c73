"""The paper's claims, judged on made-up runs."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_up import SOURCE_CONDITIONS, EditPaper, confusion, context, finished, run_id, with_table_4
from numpy.typing import NDArray
from scipy.stats import permutation_test

from fastser.augmentation import AUGMENTATIONS
from fastser.experiment.stored_runs import Run
from fastser.experiment.tasks import TASKS
from fastser.models import MODELS
from fastser.report.claims import Judgement, judge
from fastser.report.published import published

SPEAKERS = 10


def judged(along: str, **changes: Any) -> list[Judgement]:
    """Return the judgements of the claims that compare models, augmentations or studies."""
    texts = {claim.text for claim in published().claim if claim.along == along}
    return [judgement for judgement in judge(context(1, SPEAKERS, **changes)) if judgement.claim in texts]


@pytest.fixture
def speed_over_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a single claim: speed augmentation is better than none."""
    claim = next(c for c in published().claim if c.worst).model_copy(
        update={"worst": None, "rising": ("none", "speed"), "tasks": ("source",), "conditions": ("clean",)}
    )
    only = published().model_copy(update={"claim": [claim]})
    monkeypatch.setattr("fastser.report.claims.published", lambda: only)


def verdict_on(uars: Mapping[str, NDArray[np.int64]]) -> str:
    """Return the verdict on a claim about UARs in percent, [repeats, speakers] by augmentation."""
    runs = [
        finished(run_id("source", "proposed", augmentation, f"f{fold}", repeat), {"clean": confusion(int(uar))})
        for augmentation, of_repeats in uars.items()
        for repeat, of_folds in enumerate(of_repeats)
        for fold, uar in enumerate(of_folds)
    ]
    (judgement,) = judge(context(expected=[run.id for run in runs], runs=runs))
    return judgement.verdict


def test_claims_hold_with_one_repeat_where_every_speaker_agrees() -> None:
    verdicts = judge(context(1, SPEAKERS))
    assert len(verdicts) == sum(len(claim.tasks) * len(claim.conditions) for claim in published().claim)
    for along in ("model", "augmentation"):
        assert {judgement.verdict for judgement in judged(along)} == {"holds"}


def test_claims_do_not_hold_where_one_difference_is_significantly_reversed() -> None:
    def swapped(run: Run) -> Run:
        model = {"proposed": "cnn", "cnn": "proposed"}.get(run.id.point.model, run.id.point.model)
        return replace(run, id=replace(run.id, point=replace(run.id.point, model=model)))

    verdicts = judged("model", runs=[swapped(run) for run in context(1, SPEAKERS).runs])
    assert {judgement.verdict for judgement in verdicts} == {"does not hold"}
    on_clean = next(j for j in verdicts if j.claim.startswith("Clean speech"))
    supporting, against = "CNN-LSTM < DenseNet, DenseNet < DenseNet-LSTM", "CNN-LSTM < CNN, Proposed < DenseNet-LSTM"
    assert on_clean.because.endswith(f"significant: 2 for, 2 against (for: {supporting}; against: {against})")
    in_noise = next(j for j in verdicts if j.claim.startswith("Noise: Proposed"))
    named = ", ".join(f"Proposed with {augmentation} < CNN with {augmentation}" for augmentation in AUGMENTATIONS)
    assert in_noise.because.endswith(f"significant: 0 for, 16 against (against: {named} and 12 more)")


def test_claims_are_not_decided_while_runs_are_missing() -> None:
    runs = context(1, SPEAKERS).runs
    verdicts = judge(context(1, SPEAKERS, runs=runs[: int(0.99 * len(runs))]))
    undecided = [judgement for judgement in verdicts if judgement.because.startswith("finished: ")]
    assert undecided
    assert {judgement.verdict for judgement in undecided} == {"not decided"}


def test_claims_are_not_decided_by_two_speakers_and_say_what_could_have_been_seen() -> None:
    verdicts = [j for j in judge(context(4, 2)) if j.claim.startswith("Noise: Proposed is the best")]
    assert {judgement.verdict for judgement in verdicts} == {"not decided"}
    assert all(re.search(r"differences under \d+ points could not be seen", j.because) for j in verdicts)


@pytest.mark.usefixtures("speed_over_none")
@pytest.mark.parametrize("shift", [0, 2, 4, 6, 9])
def test_claims_agree_with_scipys_permutation_test_on_a_single_comparison(shift: int) -> None:
    generator = np.random.default_rng(shift)
    low = generator.integers(40, 60, 8)
    high = low + shift + generator.integers(-5, 6, 8)

    def mean_difference(x: Any, y: Any, axis: int) -> Any:
        return np.mean(x - y, axis=axis)

    theirs = permutation_test((high, low), mean_difference, permutation_type="samples", vectorized=True)
    expected = "holds" if theirs.pvalue <= 0.05 else "not decided"
    assert verdict_on({"none": low[None], "speed": high[None]}) == expected


@pytest.mark.usefixtures("speed_over_none")
@pytest.mark.parametrize(("spread", "expected"), [(0, "holds"), (30, "not decided")])
def test_repeats_that_contradict_each_other_decide_nothing(spread: int, expected: str) -> None:
    """An interval is about new trainings as well as new speakers."""
    base = 45 + np.arange(SPEAKERS)
    verdict = verdict_on({"none": np.stack([base, base]), "speed": np.stack([base + 5 + spread, base + 5 - spread])})
    assert verdict == expected


def test_studies_are_not_compared_without_their_table() -> None:
    whole = context(1, SPEAKERS)
    expected = [identity for identity in whole.expected if identity.point.task != "cross"]
    runs = [run for run in whole.runs if run.id.point.task != "cross"]
    verdicts = judged("study", expected=expected, runs=runs)
    assert {judgement.verdict for judgement in verdicts} == {"not planned"}


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
