"""Data: corpora, audio, noise and segments. What needs PyTorch is loaded at its first use.

Example:
    >>> from pathlib import Path
    >>> from fastser.data import prepare, read_corpus
    >>> from fastser.settings import PAPER
    >>> dataset = prepare(read_corpus("emodb", Path("EMODB")), PAPER)  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
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

_WITH_TORCH = {
    "Dataset": "dataset",
    "Subset": "dataset",
    "prepare": "dataset",
    "prepare_noise": "dataset",
    "Normalisation": "normalisation",
}
"""Modules of the names that need PyTorch, so that file names are read without it."""


def __getattr__(name: str) -> Any:
    """Load what needs PyTorch at its first use."""
    from importlib import import_module

    if name not in _WITH_TORCH:
        raise AttributeError(f"module 'fastser.data' has no attribute '{name}'")
    return getattr(import_module(f"fastser.data.{_WITH_TORCH[name]}"), name)
