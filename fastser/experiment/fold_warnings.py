"""Warnings about folds: missing classes, small validation sets, unusual validation speakers."""

from collections.abc import Sequence

from fastser.data.corpora import Corpus
from fastser.experiment.folds import Fold, has_own_split, paired_speakers

_EXAMPLES = 3


def fold_warnings(corpus: Corpus, folds: Sequence[Fold], min_validation: int) -> list[str]:
    """Return at most one warning of each kind, with a count and three examples.

    Args:
        corpus: The corpus.
        folds: Its folds.
        min_validation: Smallest number of utterances in a validation set that is not warned of.
    """
    lacking = [_lacking(corpus, fold.name, fold.test) for fold in folds]
    unvalidated = [_lacking(corpus, f"fold {fold.name}", fold.validation) for fold in folds]
    small = [f"fold {fold.name} ({len(fold.validation)})" for fold in folds if len(fold.validation) < min_validation]
    warnings = []
    if found := [text for text in lacking if text]:
        warnings.append(
            f"{len(found)} of {len(folds)} test speakers lack a class: {_some(found)}; the UAR of their folds is the "
            "mean recall of the other classes"
        )
    if found := [text for text in unvalidated if text]:
        warnings.append(
            f"{len(found)} of {len(folds)} validation sets lack a class: {_some(found)}; they may choose a bad epoch"
        )
    if small:
        warnings.append(
            f"{len(small)} of {len(folds)} validation sets have fewer than {min_validation} utterances: "
            f"{_some(small)}; they may choose a bad epoch"
        )
    if found := _other_speakers(corpus, folds):
        warnings.append(
            f"{len(found)} of {len(folds)} folds are validated on other speakers than the paper's rule gives, because "
            f"those lack a class or have fewer than {min_validation} utterances: {_some(found)}"
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


def _some(texts: Sequence[str]) -> str:
    """Return the first three texts and the number of further ones."""
    more = f" and {len(texts) - _EXAMPLES} more" if len(texts) > _EXAMPLES else ""
    return ", ".join(texts[:_EXAMPLES]) + more
