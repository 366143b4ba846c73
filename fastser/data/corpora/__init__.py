"""Readers of corpora of emotional speech and of noise."""

from .base import PAPER_CLASSES, Corpus, CorpusError, NoiseCorpus, NoiseRecording, Utterance
from .readers import (
    NOISE_READERS,
    READERS,
    Reader,
    list_corpus,
    noise_reader,
    read_corpus,
    read_noise,
    speech_reader,
)
from .titles import distinct_titles

__all__ = [
    "NOISE_READERS",
    "PAPER_CLASSES",
    "READERS",
    "Corpus",
    "CorpusError",
    "NoiseCorpus",
    "NoiseRecording",
    "Reader",
    "Utterance",
    "distinct_titles",
    "list_corpus",
    "noise_reader",
    "read_corpus",
    "read_noise",
    "speech_reader",
]
