"""Numbers of things in sentences: "1 speaker", "2 classes"."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the singular for 1 and otherwise in the plural.

    Args:
        number: Number of things.
        noun: Regular noun in the singular.

    Example:
        >>> counted(1, "speaker"), counted(0, "speaker"), counted(2, "class")
        ('1 speaker', '0 speakers', '2 classes')
    """
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{ending}"
