"""Warnings about folds: missing classes, small validation sets, unusual validation speakers."""

from collections.abc import Sequence

from fastser.data.corpora import Corpus
from fastser.data.corpora.files import first_few
from fastser.experiment.folds import Fold, has_own_split, paired_speakers
from fastser.runtime.counted import counted
from fastser.settings import Settings


def fold_warnings(corpus: Corpus, folds: Sequence[Fold], settings: Settings) -> list[str]:
    """Return at most one warning of each kind, with a count and three examples.

    Args:
        corpus: The corpus.
        folds: Its folds.
        settings: Settings of the runs. Validation sets that choose no epoch are not warned of.
    """
    min_validation, chooses = settings.protocol.min_validation_utterances, settings.training.schedule == "plateau"
    lacking = [_lacking(corpus, fold.name, fold.test) for fold in folds]
    unvalidated = [_lacking(corpus, f"fold {fold.name}", fold.validation) for fold in folds if chooses]
    small = [
        f"fold {fold.name} ({len(fold.validation)})"
        for fold in folds
        if chooses and len(fold.validation) < min_validation
    ]
    warnings = []
    if found := [text for text in lacking if text]:
        lack, their = ("lacks", "its fold") if len(found) == 1 else ("lack", "their folds")
        tested = "test set" if has_own_split(corpus) else "test speaker"
        warnings.append(
            f"{len(found)} of {counted(len(folds), tested)} {lack} a class: {first_few(found)}; the UAR of "
            f"{their} is the mean recall of the other classes"
        )
    if found := [text for text in unvalidated if text]:
        lack, they = ("lacks", "it") if len(found) == 1 else ("lack", "they")
        warnings.append(
            f"{len(found)} of {counted(len(folds), 'validation set')} {lack} a class: {first_few(found)}; "
            f"{they} may choose a bad epoch"
        )
    if small:
        have, they = ("has", "it") if len(small) == 1 else ("have", "they")
        warnings.append(
            f"{len(small)} of {counted(len(folds), 'validation set')} {have} fewer than {min_validation} utterances: "
            f"{first_few(small)}; {they} may choose a bad epoch"
        )
    if found := _other_speakers(corpus, folds):
        if len(found) == 1:
            are, theirs = "is", "the rule's speaker lacks a class or has"
        else:
            are, theirs = "are", "the rule's speakers lack a class or have"
        warnings.append(
            f"{len(found)} of {counted(len(folds), 'fold')} {are} validated on other speakers than the paper's rule "
            f"gives, because {theirs} fewer than {min_validation} utterances: {first_few(found)}"
        )
    return [f"{corpus.title}: {warning}" for warning in warnings]


def _lacking(corpus: Corpus, name: str, utterances: Sequence[int]) -> str:
    """Return the classes that some utterances lack, such as "Ses01F (sad)", or an empty text."""
    present = {corpus.utterances[i].emotion for i in utterances}
    absent = [emotion for emotion in corpus.classes if emotion not in present]
    return f"{name} ({', '.join(absent)})" if absent else ""


def _other_speakers(corpus: Corpus, folds: Sequence[Fold]) -> list[str]:
    """Return the folds whose validation speakers differ from the paper's rule, such as "03 (on 09, not 08)"."""
    if has_own_split(corpus):
        return []
    pairs, found = paired_speakers(corpus.utterances), []
    for fold in folds:
        speakers = sorted({corpus.utterances[i].speaker for i in fold.validation})
        if speakers != [pairs[fold.name]]:
            found.append(f"{fold.name} (on {' and '.join(speakers)}, not {pairs[fold.name]} alone)")
    return found
