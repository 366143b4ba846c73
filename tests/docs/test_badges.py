"""Badges are files, so nobody updates them: they must say what the package's metadata say."""

import re
import tomllib

import pytest
from snippets import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def _torch() -> str:
    (wanted,) = (text for text in PROJECT["dependencies"] if text.startswith("torch>"))
    first, end = re.fullmatch(r"torch>=(2\.\d+),<2\.(\d+)", wanted).groups()
    return f"{first} to 2.{int(end) - 1}"


@pytest.mark.fast
@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("version", f"fastser {PROJECT['version']}"),
        ("python", f"Python {PROJECT['requires-python'].removeprefix('>=')} or newer"),
        ("torch", f"torch {_torch()}"),
        ("licence", f"licence {PROJECT['license']}"),
    ],
)
def test_badge_says_what_the_metadata_say(name: str, title: str) -> None:
    picture = (ROOT / f"docs/images/badges/{name}.svg").read_text("utf-8")
    assert f"<title>{title}</title>" in picture
    assert " ".join(re.findall(r"<text [^>]*>([^<]*)</text>", picture)) == title
    shown = f"![{title.replace('fastser', 'version')}](docs/images/badges/{name}.svg)"
    assert shown in (ROOT / "README.md").read_text("utf-8")
