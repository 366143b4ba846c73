"""NAME=PATH arguments."""

from pathlib import Path

import pytest

from fastser.data.corpora import CorpusError
from fastser.data.corpora.named_path import named_path

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("text", "name", "path"),
    [
        ("emodb=data/a=b", "emodb", Path("data/a=b")),
        ("manifest=~/corpus.csv", "manifest", Path("/home/ann/corpus.csv")),
    ],
)
def test_name_and_path_are_split_at_the_first_sign(
    text: str, name: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert named_path("--source", text) == (name, path)


@pytest.mark.parametrize(
    ("text", "example"),
    [
        ("ravdess", "ravdess=/data/RAVDESS"),
        ("ravdess=", "ravdess=/data/RAVDESS"),
        ("=voices", "folder=/data/noise"),
        ("voices", "folder=/data/noise"),
    ],
)
def test_an_argument_without_name_or_path_is_refused_with_an_example(text: str, example: str) -> None:
    with pytest.raises(CorpusError) as refused:
        named_path("noise (--noise)", text, "folder")
    assert str(refused.value) == f"noise (--noise) {text}: expected NAME=PATH, such as {example}"
