"""Speech corpora and noise corpora as readers find them on disk."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fastser.runtime.counted import counted
from fastser.runtime.files import printable, storable
from fastser.settings import PAPER_CLASSES

from .canonical import canonical_emotion
from .checks import require_classes, require_distinct, require_whole_split, speakers_in_several_parts
from .expected import ExpectedCounts
from .files import first_few
from .names import look_alikes, plain_name
from .utterance import CorpusError, Utterance

__all__ = ["PAPER_CLASSES", "Corpus", "CorpusError", "NoiseCorpus", "NoiseRecording", "Utterance"]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A speech corpus: utterances, and the classes that are told apart.

    A reader gives all labelled utterances; `select` keeps those of some classes and checks them. The summary and the
    warnings are about the classes of the corpus at hand.

    Attributes:
        name: Name of the reader, which the command line uses ("iemocap").
        title: Name for people ("IEMOCAP"); it begins with "synthetic" for a generated stand-in.
        path: Folder or manifest that was read.
        utterances: Utterances whose audio exists.
        classes: Class names in the order of label indices and posterior columns. Default: all labels, sorted.
        expected: Published counts of the classes, or None where there are none.
        left_out: Labels that a selection left out, each with its number of labelled utterances.
        without_audio: (id, emotion) of each labelled utterance whose audio is missing.
        release: Release that has as many labels in each part, where releases differ in size, or None if none is known.
        synthetic: Whether the corpus was generated.

    Example:
        >>> utterances = [Utterance(f"{e}.wav", Path(f"{e}.wav"), "ann", e) for e in ("sad", "angry", "bored")]
        >>> corpus = Corpus("mine", "Mine", Path("mine"), tuple(utterances))
        >>> corpus.classes
        ('angry', 'bored', 'sad')
        >>> corpus.select(["sad", "angry"]).labels
        [1, 0]
    """

    name: str
    title: str
    path: Path
    utterances: tuple[Utterance, ...]
    classes: tuple[str, ...] = ()
    expected: ExpectedCounts | None = None
    left_out: tuple[tuple[str, int], ...] = ()
    without_audio: tuple[tuple[str, str], ...] = ()
    release: str | None = None
    synthetic: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", printable(self.title))
        object.__setattr__(self, "classes", tuple(map(plain_name, self.classes)))
        labels = sorted(self.class_counts())
        if not self.classes:
            object.__setattr__(self, "classes", tuple(labels))
        elif foreign := [label for label in labels if label not in self.classes]:
            raise CorpusError(
                f"{self.path}: {self.title} has utterances of {', '.join(foreign)}, but its classes are"
                f" {', '.join(self.classes)}"
            )

    @property
    def speakers(self) -> tuple[str, ...]:
        """Return all speakers, sorted."""
        return tuple(sorted({u.speaker for u in self.utterances}))

    @property
    def labels(self) -> list[int]:
        """Return the label of each utterance: the index of its emotion in `classes`."""
        index = {emotion: label for label, emotion in enumerate(self.classes)}
        return [index[u.emotion] for u in self.utterances]

    def class_counts(self) -> Counter[str]:
        """Return the number of utterances of each emotion."""
        return Counter(u.emotion for u in self.utterances)

    def select(self, classes: Sequence[str] | None) -> "Corpus":
        """Keep the utterances of some classes, sorted by id, and check them.

        Args:
            classes: The class names in the order of label indices, or None for all labels, sorted by name. A usual
                synonym, or a name in capitals, means the label that the readers make of it.

        Raises:
            CorpusError: If a class is named twice, if the corpus cannot have a class, if there are fewer than two
                classes, if an id or an audio file occurs twice, or if only some of the utterances belong to a split.
        """
        found = self.class_counts()
        chosen = tuple(sorted(found) if classes is None else (_label(name, found) for name in classes))
        published = self.expected.emotions if self.expected else frozenset[str]()
        require_classes(self.path, self.title, chosen, found, published, self.without_audio)
        utterances = tuple(sorted((u for u in self.utterances if u.emotion in chosen), key=lambda u: u.id))
        require_whole_split(self.path, utterances)
        require_distinct(self.path, self.title, utterances)
        if classes is None:  # all published labels stay expected, also those that the copy lacks
            return replace(self, utterances=utterances, classes=chosen)
        left_out = Counter(dict(self.left_out)) + found + Counter(emotion for _, emotion in self.without_audio)
        return replace(
            self,
            utterances=utterances,
            classes=chosen,
            expected=self.expected and self.expected.restricted_to(chosen),
            left_out=tuple(sorted((label, count) for label, count in left_out.items() if label not in chosen)),
            without_audio=tuple(entry for entry in self.without_audio if entry[1] in chosen),
        )

    @property
    def complete(self) -> bool | None:
        """Return whether all counts are the published ones, or None where no counts are published."""
        if self.synthetic or self.expected is None:
            return None
        return not self.expected.differences(self.utterances)

    @property
    def summary(self) -> str:
        """Return one line with the number of utterances and the verdict on the copy."""
        size, speakers = len(self.utterances), counted(len(self.speakers), "speaker")
        if self.synthetic:
            return f"{self.title}: {counted(size, 'utterance')}, {speakers}; generated, not recorded"
        if self.expected is None:
            of_release = f"; as many labels as in {self.release}" if self.release else ""
            return f"{self.title}: {counted(size, 'utterance')}, {speakers}{of_release}"
        selection = f" ({', '.join(self.classes)})" if self.left_out else ""
        if differences := self.expected.differences(self.utterances):
            verdict = "INCOMPLETE" if size < self.expected.total else "NOT THE PUBLISHED ONE"
            found = f"{size} of {self.expected.total} utterances{selection}"
            return f"{self.title}: {found}; the copy is {verdict} ({first_few(differences)})"
        labelled = size + sum(count for _, count in self.left_out)
        found = f"{size} of {labelled}" if self.left_out else f"{size}"
        return f"{self.title}: {found} utterances{selection}, {speakers}; the copy is complete"

    @property
    def missing_audio(self) -> str | None:
        """Return a sentence that names labelled utterances whose audio is missing, or None if there are none."""
        if not self.without_audio:
            return None
        ids = first_few([id for id, _ in self.without_audio])
        return storable(f"{self.path}: {counted(len(self.without_audio), 'labelled utterance')} without audio: {ids}")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return one sentence for each finding that the user should know."""
        said = []
        if self.left_out and self.expected is None:
            rows = sum(count for _, count in self.left_out)
            names = first_few([f"{label} ({count})" for label, count in self.left_out])
            said.append(f"{self.path}: {counted(rows, 'row')} with other emotions left out: {names}")
        if several := speakers_in_several_parts(self.utterances):
            said.append(f"{self.path}: speakers in more than one part of its split: {first_few(several)}")
        if self.missing_audio:
            said.append(self.missing_audio)
        if self.complete is False and self.expected is not None:
            differences = first_few(self.expected.differences(self.utterances))
            said.append(
                f"{self.path}: the counts differ from {self.expected.source}"
                f" ({self.expected.total} utterances of {len(self.classes)} classes): {differences}"
            )
        if alike := look_alikes(self.speakers):
            said.append(f"{self.path}: speakers whose names look alike are taken for different: {first_few(alike)}")
        if alike := look_alikes(self.classes):
            said.append(f"{self.path}: labels that look alike are taken for different: {first_few(alike)}")
        return tuple(map(storable, said))


def _label(name: str, found: Collection[str]) -> str:
    """Return the label that the name of a class means."""
    plain = plain_name(name)
    return plain if plain in found else canonical_emotion(name)


@dataclass(frozen=True, slots=True)
class NoiseRecording:
    """One noise file and the scene of its recording ("kitchen"), spelled as `plain_name` does."""

    scene: str
    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "scene", plain_name(self.scene))


@dataclass(frozen=True, slots=True)
class NoiseCorpus:
    """Noise recordings by scene.

    Attributes:
        name: Name of the reader, which the command line uses ("demand").
        title: Name for people ("DEMAND"); it begins with "synthetic" for a generated stand-in.
        path: Folder that was read.
        recordings: Noise files with their scenes.
        expected_scenes: Number of scenes of a complete copy, or None where it is not known.
        warnings: One sentence for each finding that the user should know.
        synthetic: Whether the recordings were generated.
    """

    name: str
    title: str
    path: Path
    recordings: tuple[NoiseRecording, ...]
    expected_scenes: int | None = None
    warnings: tuple[str, ...] = ()
    synthetic: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", printable(self.title))
        object.__setattr__(self, "warnings", tuple(map(storable, self.warnings)))

    @property
    def scenes(self) -> tuple[str, ...]:
        """Return all scenes, sorted."""
        return tuple(sorted({r.scene for r in self.recordings}))

    @property
    def summary(self) -> str:
        """Return one line with the number of scenes."""
        scenes = len(self.scenes)
        if self.expected_scenes is not None:
            found = f"{scenes} of {self.expected_scenes} scenes"
        else:
            found = f"{counted(len(self.recordings), 'noise recording')} of {counted(scenes, 'scene')}"
        return f"{self.title}: {found}{'; generated, not recorded' if self.synthetic else ''}"
