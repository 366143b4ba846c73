"""Names of speakers, labels and scenes: one spelling of each, and names that look alike."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from fastser.runtime.files import printable

_FORMAT_CHARACTERS = "Cf"
"""Unicode category of characters without a shape, such as the zero-width space and the byte-order mark."""


def plain_name(text: str) -> str:
    r"""Return the one spelling of a name, which differs for names that look different.

    Composed and decomposed accents are the same (Unicode form NFC). Characters without a shape are removed. Spaces of
    any kind become single ones. What cannot be printed or stored as UTF-8 becomes an escape.

    Example:
        >>> plain_name("Jose\u0301") == plain_name("Jos\u00e9\u200b")
        True
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    visible = "".join(sign for sign in text if unicodedata.category(sign) != _FORMAT_CHARACTERS)
    plain = unicodedata.normalize("NFC", " ".join(visible.split()))
    return printable(plain or text)  # a name without any shape stays a name


def look_alikes(names: Iterable[str]) -> list[str]:
    """Return a phrase for each group of names that differ in case or in the width or style of their letters only.

    Example:
        >>> look_alikes(["Ann", "Bob", "ann"])
        ["'Ann' and 'ann'"]
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        groups[folded.replace(" ", "")].append(name)
    return [" and ".join(map(repr, group)) for group in groups.values() if len(group) > 1]
