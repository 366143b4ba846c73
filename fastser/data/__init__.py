"""Data: corpora, audio, noise and segments.

Example:
    >>> from pathlib import Path
    >>> from fastser.data import prepare, read_corpus
    >>> from fastser.settings import PAPER
    >>> dataset = prepare(read_corpus("emodb", Path("EMODB")), PAPER)  # doctest: +SKIP
"""

from fastser.data.corpora import (
    NOISE_READERS,
    PAPER_CLASSES,
    READERS,
    Corpus,
    CorpusError,
    Utterance,
    read_corpus,
    read_noise,
)
from fastser.data.dataset import Dataset, Subset, prepare, prepare_noise
from fastser.data.normalisation import Normalisation

__all__ = [
    "NOISE_READERS",
    "PAPER_CLASSES",
    "READERS",
    "Corpus",
    "CorpusError",
    "Dataset",
    "Normalisation",
    "Subset",
    "Utterance",
    "prepare",
    "prepare_noise",
    "read_corpus",
    "read_noise",
]
