"""From what a reader found to a `Corpus`: sorted, counted against the published counts, and summed up in one line."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from .base import Corpus, CorpusError, ExpectedCounts, Utterance
from .files import first_few


def checked_corpus(
    name: str,
    title: str,
    path: Path,
    utterances: Sequence[Utterance],
    *,
    without_audio: Sequence[str] = (),
    expected: ExpectedCounts | None = None,
    group: Callable[[Utterance], str] = lambda utterance: utterance.emotion,
    warnings: Sequence[str] = (),
    synthetic: bool = False,
) -> Corpus:
    """Build the corpus that a reader returns.

    Args:
        name: The reader's name.
        title: The corpus's name; "synthetic" is put before it where it applies.
        path: Where the corpus lies, for messages.
        utterances: In any order.
        without_audio: Labelled utterances whose audio is missing.
        expected: Published counts, where there are some. A synthetic corpus is not held to them.
        group: The key of an utterance in `expected.groups`.
        warnings: What the reader has to say besides.
        synthetic: Whether the corpus was generated.

    Raises:
        CorpusError: If there is no utterance, or an id occurs twice.
    """
    _require_utterances(title, path, utterances, without_audio)
    if synthetic:
        title = f"synthetic {title}"
    found = f"{len(utterances)} utterances, {len({u.speaker for u in utterances})} speakers"
    said = list(warnings)
    if without_audio:
        said.append(f"{path}: {len(without_audio)} labelled utterances have no audio: {first_few(without_audio)}")
    complete = None
    if synthetic:
        summary = f"{title}: {found}; generated, not recorded"
    elif expected is None:
        summary = f"{title}: {found}"
    elif missing := expected.missing(Counter(group(u) for u in utterances)):
        complete = False
        verdict = "INCOMPLETE" if len(utterances) < expected.total else "NOT THE PUBLISHED ONE"
        summary = f"{title}: {len(utterances)} of {expected.total} utterances; the copy is {verdict}"
        summary += f" ({first_few(missing)})"
        said.append(f"{path}: the counts differ from {expected.source}: {first_few(missing)}")
    else:
        complete = True
        summary = f"{title}: {found}; the copy is complete"
    return Corpus(name, title, tuple(sorted(utterances, key=_id)), complete, summary, tuple(said), synthetic)


def _require_utterances(title: str, path: Path, utterances: Sequence[Utterance], without_audio: Sequence[str]) -> None:
    if not utterances and without_audio:
        raise CorpusError(
            f"{path}: {title} has {len(without_audio)} labelled utterances but the audio of none of them,"
            f" such as {without_audio[0]}"
        )
    if not utterances:
        raise CorpusError(f"{path}: {title} has no utterance of the four classes")
    id, count = Counter(map(_id, utterances)).most_common(1)[0]
    if count > 1:
        copies = sorted({str(u.path) for u in utterances if u.id == id})
        raise CorpusError(f"{path}: {title} has the utterance {id} more than once: {first_few(copies)}")


def _id(utterance: Utterance) -> str:
    return utterance.id
