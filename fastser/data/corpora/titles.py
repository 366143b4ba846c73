"""Distinct titles for corpora that are shown side by side."""

from collections.abc import Sequence
from dataclasses import replace
from os.path import normpath
from pathlib import Path
from typing import TypeVar

from fastser.runtime.files import printable

from .base import Corpus, NoiseCorpus
from .files import SYNTHETIC_PREFIX, titled

_Corpus = TypeVar("_Corpus", bound=Corpus | NoiseCorpus)


def distinct_titles(corpora: Sequence[_Corpus]) -> list[_Corpus]:
    """Return the corpora in their order, with names of folders before equal titles.

    Two manifests `a/labels.csv` and `b/labels.csv` have the title "labels.csv" and get the titles "a/labels.csv" and
    "b/labels.csv". Only corpora of the same path keep equal titles.
    """
    return [replace(corpus, title=_distinct_title(corpus, corpora)) for corpus in corpora]


def _distinct_title(corpus: Corpus | NoiseCorpus, corpora: Sequence[Corpus | NoiseCorpus]) -> str:
    rivals = [other for other in corpora if other.title == corpus.title]
    paths = {_absolute(other) for other in rivals}
    depths = range(max(len(path.parts) for path in paths) + 1)
    enough = (depth for depth in depths if len({_title(other, depth) for other in rivals}) == len(paths))
    return _title(corpus, next(enough, depths[-1]))


def _title(corpus: Corpus | NoiseCorpus, depth: int) -> str:
    """Return the title with the names of up to `depth` folders before it."""
    bare = corpus.title.removeprefix(SYNTHETIC_PREFIX) if corpus.synthetic else corpus.title
    path = _absolute(corpus)
    folders = (path.parent if printable(path.name) == bare else path).parts[1:]
    return titled("/".join([*folders[max(0, len(folders) - depth) :], bare]), corpus.synthetic)


def _absolute(corpus: Corpus | NoiseCorpus) -> Path:
    return Path(normpath(corpus.path.absolute()))
