"""The sensitivity report on made-up runs: differences, sentences, unfinished answers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from made_up import cells, confusion, context, finished, read_csv, run_id, section

from fastser.experiment.grid import RunId
from fastser.experiment.own_answers import own_question
from fastser.experiment.questions import QUESTIONS
from fastser.experiment.stored_runs import Run
from fastser.experiment.variants import Variant
from fastser.report import ReportContext
from fastser.report.sensitivity import moves
from fastser.report.sensitivity_page import write_sensitivity
from fastser.report.sensitivity_sentences import sentences
from fastser.settings import QUICK

FOLDS = [f"f{n}" for n in range(8)]
CONDITIONS = ("clean", "noise-0db", "noise-10db", "noise-20db", "fgsm", "bim")
MODELS = ("cnn", "proposed")
Percent = Callable[[RunId], int]
"""Function that returns the UAR of a run in percent."""


def variant(name: str | None, number: int = 0, models: tuple[str, ...] = MODELS, repeats: int = 2) -> Variant:
    """Return the baseline, or an answer of a question by its position among the other answers."""
    runs = [
        run_id("source", model, "none", fold, repeat)
        for repeat in range(1, repeats + 1)
        for model in models
        for fold in FOLDS
    ]
    if name is None:
        return Variant(None, None, tuple(runs))
    answer = [*QUESTIONS[name].alternatives(QUICK)][number]
    return Variant(QUESTIONS[name], answer, tuple(replace(run, key=f"{answer.title}{run.key}") for run in runs))


def baseline_uar(run: RunId) -> int:
    return (60 if run.point.model == "proposed" else 50) + FOLDS.index(run.point.fold) % 3 + run.point.repeat


def shifted(points: int) -> Percent:
    """Return UARs that are some points above the baseline's, with one point of scatter between folds."""
    return lambda run: baseline_uar(run) + points + FOLDS.index(run.point.fold) % 2


def made(variants: dict[Variant, Percent], runs: Callable[[RunId], bool] = lambda _: True) -> ReportContext:
    """Return the context of variants whose runs are finished where `runs` says so."""
    expected = [run for variant in variants for run in variant.runs]
    done: list[Run] = [
        finished(run, dict.fromkeys(CONDITIONS, confusion(percent(run))))
        for variant, percent in variants.items()
        for run in variant.runs
        if runs(run)
    ]
    return context(expected=expected, runs=done, settings=QUICK.override(["training.precision=float32"]))


def test_moves_are_mean_differences_paired_by_fold_and_repeat() -> None:
    variants = {variant(None): baseline_uar, variant("bins"): shifted(3)}
    found = moves([*variants], made(variants))
    assert [(move.model, move.condition.name) for move in found] == [(m, c) for m in MODELS for c in CONDITIONS]
    for move in found:
        assert move.value == pytest.approx(0.035)
        assert move.difference is not None
        assert move.difference.value == pytest.approx(move.value)
        assert move.difference.low < move.value < move.difference.high
        assert (move.folds, move.repeats) == (8, 2)
    assert found[6].baseline == pytest.approx((60 + 7 / 8 + 1.5) / 100)


def test_p_values_are_corrected_within_each_question() -> None:
    variants = {variant(None): baseline_uar, variant("bins"): shifted(20), variant("schedule"): shifted(20)}
    found = moves([*variants], made(variants))
    assert len(found) == 2 * 12
    for move in found:
        assert move.difference is not None
        assert move.p_holm == pytest.approx(12 * move.difference.p)


def test_moves_that_were_not_tested_do_not_count_for_the_correction() -> None:
    def of_one_speaker(whole: Variant) -> Variant:
        """Return a variant that has a single fold of one of its models."""
        kept = [run for run in whole.runs if run.point.model == "cnn" or run.point.fold == "f0"]
        return replace(whole, runs=tuple(kept))

    variants = {of_one_speaker(variant(None)): baseline_uar, of_one_speaker(variant("bins")): shifted(20)}
    found = moves([*variants], made(variants))
    tested = [move for move in found if move.difference]
    assert [(move.model, move.p_holm) for move in found if not move.difference] == [("proposed", 1.0)] * 6
    assert [move.p_holm for move in tested] == pytest.approx([6 * move.difference.p for move in tested])


def test_repeats_that_lack_a_fold_are_left_out_on_both_sides() -> None:
    variants = {variant(None): baseline_uar, variant("bins"): shifted(3), variant("schedule"): shifted(3)}
    bins, schedule = (v.answer.title for v in [*variants][1:] if v.answer)

    def done(run: RunId) -> bool:
        if run.key.startswith(bins):
            return (run.point.repeat, run.point.fold) != (1, "f0")
        return not run.key.startswith(schedule) or run.point.fold != "f3"

    found = moves([*variants], made(variants, done))
    assert {move.question.name for move in found} == {"bins"}
    assert {move.repeats for move in found} == {1}
    assert found[-1].baseline == pytest.approx((60 + 7 / 8 + 2) / 100)
    assert {f"{move.value:.4f}" for move in found} == {"0.0350"}


def test_sentences_compare_the_largest_move_with_the_published_differences() -> None:
    """Table 1 has Proposed 2.6 points above CNN on IEMOCAP and 3.6 points on MSP-IMPROV."""
    variants = {variant(None): baseline_uar, variant("bins"): shifted(-3), variant("schedule"): shifted(1)}
    in_context = made(variants)
    text = " ".join(sentences(moves([*variants], in_context), in_context))
    assert "On EMO-DB, clean speech, 2 other answers" in text
    assert "between 59.9 and 63.9 %. The baseline has 62.4 %, with a standard deviation of 0.7 points between" in text
    assert "The largest single move is -2.5 points" in text
    assert "frequency bins, linear frequency (open 1)" in text
    assert "up to 2.5 points here: less than the 2.6 points on IEMOCAP, less than the 3.6 points on MSP-IMPROV" in text
    assert "order Proposed > CNN (+10.0 points). No other answer changes" in text

    variants = {variant(None): baseline_uar, variant("bins"): shifted(3)}
    in_context = made(variants)
    text = " ".join(sentences(moves([*variants], in_context), in_context))
    assert "up to 3.5 points here: more than the 2.6 points on IEMOCAP, less than the 3.6 points on MSP-IMPROV" in text


def test_an_answer_that_only_proposed_has_is_compared_with_the_baseline_of_the_other_model() -> None:
    variants = {
        variant(None): baseline_uar,
        variant("stem", models=("proposed",)): shifted(-11),
        variant("bins"): lambda run: baseline_uar(run) - 12 * (run.point.model == "proposed"),
        variant("schedule"): shifted(-11),
    }
    in_context = made(variants)
    text = " ".join(sentences(moves([*variants], in_context), in_context))
    assert "2 of 3 other answers change it: first convolution, 7x7, stride 2; frequency bins, linear frequency." in text


def test_a_move_that_chance_may_explain_says_so() -> None:
    scatter = lambda run: baseline_uar(run) + 9 * (-1) ** FOLDS.index(run.point.fold)  # noqa: E731
    for percent, chance in ((scatter, True), (shifted(12), False)):
        variants = {variant(None): baseline_uar, variant("bins"): percent}
        in_context = made(variants)
        assert ("Chance alone" in " ".join(sentences(moves([*variants], in_context), in_context))) is chance


def test_the_page_has_a_table_for_each_question_and_lists_what_is_not_finished(tmp_path: Path) -> None:
    first, second = variant("batch-size", 0), variant("batch-size", 1)
    third = variant("schedule")
    variants = {variant(None): baseline_uar, first: shifted(25), second: shifted(3), third: shifted(3)}
    assert second.answer is not None
    assert third.answer is not None
    waiting = {second.answer.title, third.answer.title}
    in_context = made(variants, lambda run: not any(run.key.startswith(title) for title in waiting))
    path, summary = write_sensitivity(tmp_path, [*variants], replace(in_context, synthetic=frozenset({"source"})))
    page = path.read_text()
    assert page.startswith("# fastser sensitivity report (synthetic speech, quick scale)\n\n64 of 128 runs finished")
    assert all(sentence in page for sentence in summary)
    table = [cells(line) for line in section(page, "Open 24: batch size").splitlines() if line.startswith("|")]
    assert table[0][:4] == ["answer", "model", "clean", "0 dB"]
    assert table[2][:3] == ["baseline", "CNN", "UAR 52.4"]
    assert table[4][:2] == ["8 segments", "CNN"]
    assert table[4][2].startswith("+25.5 (")
    assert table[6] == ["32 segments", "", *["not run"] * 6, ""]
    assert "Not run yet." in section(page, "Open 25")
    unfinished = section(page, "Not finished")
    assert "- batch size: 32 segments (open 24): not run (32 runs)" in unfinished
    assert "8 segments" not in unfinished
    assert (tmp_path / "sensitivity.png").stat().st_size > 10_000
    rows = read_csv(tmp_path / "sensitivity.csv")
    assert len(rows) == 2 * len(CONDITIONS)
    assert rows[0]["difference"] == "25.50"
    assert rows[0]["corpus"] == "synthetic EMO-DB"


def test_own_answers_have_a_table_and_sentences_of_their_own(tmp_path: Path) -> None:
    own = own_question(["training.learning_rate=3e-4", "training.batch_size=8"], QUICK, "none")
    baseline = variant(None)
    low, high = (
        Variant(own, answer, tuple(replace(run, key=f"{answer.title}{run.key}") for run in baseline.runs))
        for answer in own.alternatives(QUICK)
    )
    variants = {baseline: baseline_uar, variant("bins"): shifted(-3), low: shifted(-20), high: shifted(9)}
    path, summary = write_sensitivity(tmp_path, [*variants], made(variants))
    text = " ".join(summary)
    assert "1 other answer to open questions of the paper moves the UAR of Proposed between 59.9 and 62.4 %." in text
    assert "The largest single move is -2.5 points" in text
    for title, uar in (("CNN", 61.9), ("Proposed", 71.9)):
        best = f"The best of 2 own answers for {title} on EMO-DB, clean speech, is training.batch_size=8: UAR {uar} %"
        assert f"{best}, +9.5 points (95 % interval" in text
    lines = section(path.read_text(), "Own answers").splitlines()
    assert lines[2] == "The baseline's answer: training.learning_rate=0.001, training.batch_size=16."
    table = [cells(line) for line in lines if line.startswith("|")]
    assert [line[0] for line in table[4:]] == [
        title for title in ("training.learning_rate=3e-4", "training.batch_size=8") for _ in MODELS
    ]
    rows = read_csv(tmp_path / "sensitivity.csv")
    assert [(row["question"], row["open"]) for row in rows] == [("bins", "1")] * 12 + [("own-answers", "")] * 24


def test_significant_moves_are_bold(tmp_path: Path) -> None:
    """With 8 folds the smallest p-value is 2 / 2^8, which 6 cells leave below 5 %, and 12 cells do not."""
    variants = {variant(None): baseline_uar, variant("stem", models=("proposed",)): shifted(25)}
    page = write_sensitivity(tmp_path, [*variants], made(variants))[0].read_text()
    assert "**+25.5** (" in page
    variants = {variant(None): baseline_uar, variant("bins"): shifted(25)}
    page = write_sensitivity(tmp_path, [*variants], made(variants))[0].read_text()
    assert "+25.5 (" in page
    assert "**+25.5**" not in page


def test_a_single_speaker_has_no_interval(tmp_path: Path) -> None:
    variants = {variant(None): baseline_uar, variant("bins"): shifted(3)}
    one = {replace(v, runs=tuple(run for run in v.runs if run.point.fold == "f1")): uar for v, uar in variants.items()}
    page = write_sensitivity(tmp_path, [*one], made(one))[0].read_text()
    assert "trained once" not in page
    row = read_csv(tmp_path / "sensitivity.csv")[0]
    assert (row["difference"], row["low"], row["p"], row["n_folds"]) == ("4.00", "", "", "1")
    assert "move is +4.0 points: frequency bins" in page


def test_a_single_repeat_says_that_the_chance_of_training_is_not_included() -> None:
    variants = {variant(None, repeats=1): baseline_uar, variant("bins", repeats=1): shifted(3)}
    in_context = made(variants)
    text = " ".join(sentences(moves([*variants], in_context), in_context))
    assert (
        "61.9 %. Each answer was trained once per fold, so no interval includes the chance of another training." in text
    )
