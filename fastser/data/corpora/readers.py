"""Registries of the readers, and the functions that read a corpus by the name of its reader."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from fastser.runtime.files import DiskFullError, expanded
from fastser.runtime.registry import Registry, UnknownNameError

from . import (
    audformat,
    crema_d,
    demand,
    emodb,
    emovo,
    iemocap,
    manifest,
    meld,
    msp_improv,
    msp_podcast,
    noise_folder,
    ravdess,
    savee,
)
from .base import PAPER_CLASSES, Corpus, CorpusError, NoiseCorpus

_Read = TypeVar("_Read", Corpus, NoiseCorpus)


@dataclass(frozen=True, slots=True)
class Reader(Generic[_Read]):
    """A reader of one kind of corpus.

    Attributes:
        name: Name that the command line uses.
        read: Function that lists the recordings of a corpus at an existing path. It decodes no audio. It raises a
            `CorpusError` if the path is not such a corpus. A reader of speech returns all labelled utterances.

    Example:
        >>> def read_mine(path: Path) -> Corpus:
        ...     return Corpus("mine", "Mine", path, ())
        >>> with READERS.including(Reader("mine", read_mine)):
        ...     list(READERS)[-3:]
        ['audformat', 'manifest', 'mine']
    """

    name: str
    read: Callable[[Path], _Read]


READERS: Registry[Reader[Corpus]] = Registry(
    "corpus reader",
    [
        Reader("iemocap", iemocap.read),
        Reader("msp-improv", msp_improv.read),
        Reader("msp-podcast", msp_podcast.read),
        Reader("emodb", emodb.read),
        Reader("ravdess", ravdess.read),
        Reader("crema-d", crema_d.read),
        Reader("savee", savee.read),
        Reader("emovo", emovo.read),
        Reader("meld", meld.read),
        Reader("audformat", audformat.read),
        Reader("manifest", manifest.read),
    ],
)
"""Readers of speech."""

NOISE_READERS: Registry[Reader[NoiseCorpus]] = Registry(
    "noise reader", [Reader("demand", demand.read), Reader("folder", noise_folder.read)]
)
"""Readers of noise."""


_EXAMPLES = {"manifest": "manifest=corpus.csv", "folder": "folder=/data/noise"}
"""Arguments of readers whose path is not the folder of a corpus of this name."""


def read_corpus(name: str, path: Path, classes: Sequence[str] | None = PAPER_CLASSES) -> Corpus:
    """List the utterances of some classes of a speech corpus; no audio is decoded.

    Args:
        name: Name of a reader in `READERS`.
        path: Folder or manifest of the corpus.
        classes: The classes in the order of label indices, or None for all labels of the corpus, sorted by name.

    Raises:
        CorpusError: If the name is unknown, the path is not such a corpus, a label does not parse, or a class has no
            utterance.
    """
    return list_corpus(name, path).select(classes)


def list_corpus(name: str, path: Path) -> Corpus:
    """List all labelled utterances of a speech corpus, without the checks of `Corpus.select`.

    Args:
        name: Name of a reader in `READERS`.
        path: Folder or manifest of the corpus.

    Raises:
        CorpusError: If the name is unknown, the path is not such a corpus, or a label does not parse.
    """
    return _read(*speech_reader(name, path))


def speech_reader(name: str, path: Path) -> tuple[Reader[Corpus], Path]:
    """Return the reader of a speech corpus, and its path with the home folder in place of a leading "~".

    Raises:
        CorpusError: If the name is unknown, or the path does not exist.
    """
    if name in NOISE_READERS:
        advice = f"; speech needs a manifest: {manifest.command_for(path)}" if name == "folder" else ""
        raise CorpusError(f"{name}: is noise, not speech; the readers of speech are {', '.join(READERS)}{advice}")
    return _found(READERS, name, path)


def read_noise(name: str, path: Path) -> NoiseCorpus:
    """List the recordings and scenes of a noise corpus.

    Args:
        name: Name of a reader in `NOISE_READERS`.
        path: Folder of the corpus.

    Raises:
        CorpusError: If the name is unknown, or the path is not such a corpus.
    """
    return _read(*noise_reader(name, path))


def noise_reader(name: str, path: Path) -> tuple[Reader[NoiseCorpus], Path]:
    """Return the reader of a noise corpus, and its path with the home folder in place of a leading "~".

    Raises:
        CorpusError: If the name is unknown, or the path does not exist.
    """
    if name in READERS:
        raise CorpusError(f"{name}: is speech, not noise; the readers of noise are {', '.join(NOISE_READERS)}")
    return _found(NOISE_READERS, name, path)


def example_argument(name: str, otherwise: str = "emodb") -> str:
    """Return an example of NAME=PATH for a reader.

    Args:
        name: Name that the user gave.
        otherwise: Reader of the example where there is none of this name.

    Example:
        >>> example_argument("ravdess"), example_argument("manifest"), example_argument("?")
        ('ravdess=/data/RAVDESS', 'manifest=corpus.csv', 'emodb=/data/EMODB')
    """
    known = name if name in READERS or name in NOISE_READERS else otherwise
    return _EXAMPLES.get(known, f"{known}=/data/{known.upper()}")


def _found(readers: Mapping[str, Reader[_Read]], name: str, path: Path) -> tuple[Reader[_Read], Path]:
    """Return a reader, and the path with the home folder in place of a leading "~"."""
    try:
        reader = readers[name]
    except UnknownNameError as error:
        raise CorpusError(str(error)) from None
    path = expanded(path)
    if not path.exists():
        raise CorpusError(f"{path}: does not exist (given as {name})")
    return reader, path


def _read(reader: Reader[_Read], path: Path) -> _Read:
    try:
        return reader.read(path)
    except DiskFullError:
        raise
    except OSError as error:
        raise CorpusError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from None
