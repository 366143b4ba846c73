"""Leakage: tested speakers and recordings that a model knows from its training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastser.data.corpora import CorpusError
from fastser.data.corpora.files import first_few
from fastser.data.dataset import Dataset, Subset
from fastser.data.leakage import Leak, leaks
from fastser.data.splits import sides
from fastser.runtime.counted import counted
from fastser.runtime.files import printable

_HOW_TO_GO_ON = "allow_leakage (--allow-leakage) goes on nevertheless"


def of_split(dataset: Dataset, split: Path, parts: Mapping[str, Sequence[int]], allow: bool) -> list[str]:
    """Return sentences about what both sides of a split share.

    Raises:
        CorpusError: If a speaker or a recording is on both sides, unless that is allowed.
    """
    found = _leaks(dataset, *sides(parts))
    serious = [leak.sentence for leak in found if leak.severity == "error"]
    if serious and not allow:
        raise CorpusError(f"{printable(split)}: {serious[0]}; {_HOW_TO_GO_ON}")
    return _notes(found)


def of_own_split(dataset: Dataset, seen: Sequence[int], tested: Sequence[int]) -> list[str]:
    """Return sentences about what both sides of a corpus' own split share. Such a split is never refused.

    Args:
        dataset: The corpus.
        seen: Utterances for training and validation.
        tested: Utterances for the test.
    """
    return _notes(_leaks(dataset, seen, tested))


def of_training(training: Mapping[str, Any], test: Subset, allow: bool) -> list[str]:
    """Return a sentence if the file of a model says that it was trained or validated with tested speakers.

    Args:
        training: What the file says about the training (`ModelDescription.training`). Empty for other models.
        test: Tested utterances.
        allow: Whether such speakers may be tested.

    Raises:
        CorpusError: If there are such speakers, unless that is allowed.
    """
    title, utterances = test.dataset.corpus.title, test.dataset.corpus.utterances
    tested = {utterances[index].speaker for index in test.utterances}
    corpora = [corpus for corpus in training.get("corpora", ()) if corpus["title"] == title]
    known = {speaker for corpus in corpora for speaker in corpus["speakers"]}
    known |= set(training.get("validation_speakers", ())) if corpora else set()
    if not (both := sorted(tested & known)):
        return []
    said = f"the model was trained or validated with {counted(len(both), 'speaker')} of this test ({first_few(both)})"
    if allow:
        return [f"leakage: {said}"]
    others = sorted({utterance.speaker for utterance in utterances} - known)
    remedy = f"test others with speakers (--speakers {','.join(others)})" if others else "test on another corpus"
    raise CorpusError(f"{title}: {said}; {remedy}, or {_HOW_TO_GO_ON}")


def _leaks(dataset: Dataset, seen: Sequence[int], tested: Sequence[int]) -> list[Leak]:
    return leaks(dataset.corpus, dataset.waveforms, seen, tested)


def _notes(found: Sequence[Leak]) -> list[str]:
    return [f"leakage: {leak.sentence}" for leak in found]
