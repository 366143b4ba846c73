"""Published utterance counts, against which a copy of a corpus is checked."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from .utterance import Utterance


@dataclass(frozen=True, slots=True)
class ExpectedGroup:
    """The published number of utterances of one emotion.

    Attributes:
        emotion: Emotion of the utterances.
        count: Number of utterances in a complete copy.
        speaker: Speaker of the utterances, or None for all speakers together.
    """

    emotion: str
    count: int
    speaker: str | None = None

    @property
    def name(self) -> str:
        """Return the name for messages, such as "Ses01F angry"."""
        return self.emotion if self.speaker is None else f"{self.speaker} {self.emotion}"


@dataclass(frozen=True, slots=True)
class ExpectedCounts:
    """The published counts of a complete copy.

    Attributes:
        groups: Disjoint groups of utterances.
        source: Origin of the counts for messages, such as "EMO-DB's published counts".
        speakers: Number of speakers of a complete copy, each with all emotions, or None where it is not compared.
    """

    groups: tuple[ExpectedGroup, ...]
    source: str
    speakers: int | None = None

    @classmethod
    def by_emotion(cls, counts: Mapping[str, int], source: str, speakers: int | None = None) -> "ExpectedCounts":
        """Build the counts of a corpus that publishes one number per emotion."""
        return cls(tuple(ExpectedGroup(emotion, count) for emotion, count in counts.items()), source, speakers)

    @property
    def total(self) -> int:
        """Return the number of utterances in a complete copy."""
        return sum(group.count for group in self.groups)

    @property
    def emotions(self) -> frozenset[str]:
        """Return the emotions of a complete copy."""
        return frozenset(group.emotion for group in self.groups)

    def restricted_to(self, emotions: Collection[str]) -> "ExpectedCounts | None":
        """Return the counts of some emotions, or None where one of the emotions has no published count."""
        groups = tuple(group for group in self.groups if group.emotion in emotions)
        known = {group.emotion for group in groups} == set(emotions)
        return ExpectedCounts(groups, self.source, self.speakers) if known else None

    def differences(self, utterances: Iterable[Utterance]) -> list[str]:
        """Return one phrase such as "sad: 60 of 62" for each group whose count differs, and one for the speakers."""
        found: Counter[tuple[str, str | None]] = Counter()
        speakers = set()
        for utterance in utterances:
            speakers.add(utterance.speaker)
            found[utterance.emotion, None] += 1
            found[utterance.emotion, utterance.speaker] += 1
        counted = [(group, found[group.emotion, group.speaker]) for group in self.groups]
        differing = [f"{group.name}: {count} of {group.count}" for group, count in counted if count != group.count]
        if self.speakers not in (None, len(speakers)):
            differing.append(f"speakers: {len(speakers)} of {self.speakers}")
        return differing
