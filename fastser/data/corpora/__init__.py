"""Corpora of emotional speech and of noise, each read from its own layout on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from . import demand, emodb, iemocap, manifest, msp_improv, noise_folder, ravdess
from .base import PAPER_CLASSES, Corpus, CorpusError, NoiseCorpus, NoiseRecording, Utterance

__all__ = [
    "NOISE_READERS",
    "PAPER_CLASSES",
    "READERS",
    "Corpus",
    "CorpusError",
    "NoiseCorpus",
    "NoiseRecording",
    "Utterance",
    "read_corpus",
    "read_noise",
]

_Read = TypeVar("_Read", Corpus, NoiseCorpus)

READERS: dict[str, Callable[[Path], Corpus]] = {
    "iemocap": iemocap.read,
    "msp-improv": msp_improv.read,
    "emodb": emodb.read,
    "ravdess": ravdess.read,
    "manifest": manifest.read,
}
"""Readers of speech by the name that the command line uses."""

NOISE_READERS: dict[str, Callable[[Path], NoiseCorpus]] = {"demand": demand.read, "folder": noise_folder.read}
"""Readers of noise by the name that the command line uses."""


def read_corpus(name: str, path: Path) -> Corpus:
    """List the utterances and labels of a speech corpus; no audio is decoded.

    Args:
        name: One of `READERS`.
        path: Where the corpus lies.

    Raises:
        CorpusError: If the name is unknown, or the path is not that corpus, or a label does not parse.
    """
    if name in NOISE_READERS:
        raise CorpusError(f"{name}: is noise, not speech; speech is one of {', '.join(READERS)}")
    return _read(READERS, name, path)


def read_noise(name: str, path: Path) -> NoiseCorpus:
    """List the recordings and scenes of a noise corpus; arguments and errors as for `read_corpus`."""
    if name in READERS:
        raise CorpusError(f"{name}: is speech, not noise; noise is one of {', '.join(NOISE_READERS)}")
    return _read(NOISE_READERS, name, path)


def _read(readers: dict[str, Callable[[Path], _Read]], name: str, path: Path) -> _Read:
    if name not in readers:
        raise CorpusError(f"{name}: is not a known reader; the readers are {', '.join(readers)}")
    path = path.expanduser()
    if not path.exists():
        raise CorpusError(f"{path}: does not exist (given as {name})")
    try:
        return readers[name](path)
    except OSError as error:
        raise CorpusError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from None
