"""Text in figures."""

from fastser.runtime.files import storable


def figure_text(text: str) -> str:
    r"""Return a text for a figure of Matplotlib, which would read "$" as the start of a formula.

    Bytes of a file name that is not UTF-8 become escapes.

    Example:
        >>> print(figure_text("5 $ to 7 $"))
        5 \$ to 7 \$
    """
    return storable(text).replace("$", r"\$")
