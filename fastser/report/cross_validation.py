"""Scores of leave-one-speaker-out runs, as the file and the card of a final model show them."""

from collections.abc import Sequence
from typing import Any

from fastser.experiment.stored_runs import Run
from fastser.report.aggregation import Scores
from fastser.runtime.counted import counted


def cross_validated_scores(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the scores of the runs of one model by condition, fractions, with 95 % intervals for new speakers."""
    scores, point = Scores([run.id for run in runs], runs), runs[0].id.point
    found = []
    for condition in runs[0].confusions:
        score = scores.score(point.task, point.model, point.augmentation, condition)
        if score is None or not score.by_repeat:
            continue
        ends = {} if score.interval is None else {"low": score.interval.low, "high": score.interval.high}
        found.append({"condition": condition, "uar": score.mean, "accuracy": score.accuracy, **ends})
    return found


def cross_validation_sentence(runs: Sequence[Run], speakers: int) -> str:
    """Return the sentence that says which models and speakers the scores are of.

    Args:
        runs: Runs of one model.
        speakers: Number of speakers of the corpus.
    """
    folds = {run.id.point.fold for run in runs}
    repeats = {run.id.point.repeat for run in runs}
    tested = {speaker for run in runs for of_one in run.by_speaker.values() for speaker in of_one}
    times = "once" if len(repeats) == 1 else f"in {len(repeats)} repeats"
    by_split = folds == {"split"}
    how = (
        "tested on the test set of the corpus' own split" if by_split else "trained without the speaker that tested it"
    )
    of_folds = "" if by_split else f"{counted(len(folds), 'fold')}, "
    if len(runs) == 1:
        models = f"They are those of another model of the same kind, which was {how}"
    else:
        models = f"They are the means of {len(runs)} models of the same kind, each of which was {how}"
    return (
        f"The scores are not those of this model. {models}: {len(tested)} of {counted(speakers, 'speaker')} of "
        f"{runs[0].id.corpus}, {of_folds}{times}. The intervals are for new speakers and new trainings."
    )
