"""Differences of a report from the paper: qualifiers of titles, cautions, changed settings."""

from fastser.report.context import ReportContext
from fastser.report.published import published
from fastser.settings import PAPER, PAPER_CLASSES

_SCALE_CAUTIONS = {
    "quick": "The scale is quick: narrower networks, shorter segments, fewer folds, repeats and epochs than the "
    "paper's. The paper's numbers cannot be reached this way, and small differences between rows mean nothing.",
    "open": "The scale is open: narrower networks, shorter segments, fewer repeats and epochs than the paper's.",
}
"""Sentences about the scales that are not the paper's."""


def title_qualifiers(context: ReportContext) -> str:
    """Return the qualifiers of the title, such as "(synthetic speech, quick scale)"."""
    words = ["synthetic speech"] if context.synthetic & {"source", "target"} else []
    words += ["synthetic noise"] if context.synthetic == {"noise"} else []
    words += [f"{context.scale} scale"] if context.scale != "paper" else []
    return f" ({', '.join(words)})" if words else ""


def caution_sentences(context: ReportContext) -> list[str]:
    """Return sentences that say how far the numbers can be compared with the paper's."""
    cautions = []
    if context.synthetic & {"source", "target"}:
        cautions.append(
            "The speech is synthetic: a small synthesiser made it. These numbers show that the program works from end "
            "to end. They say nothing about emotion in human speech and cannot be compared with the paper's."
        )
    elif "noise" in context.synthetic:
        cautions.append("The noise is synthetic: generated scenes, not recordings.")
    if context.scale in _SCALE_CAUTIONS:
        cautions.append(_SCALE_CAUTIONS[context.scale])
    others = [
        f"{context.title(role)} in the place of {published().corpora[role]}"
        for role in ("source", "target")
        if context.title(role) and not context.on_paper_corpora(role)
    ]
    if tuple(context.classes) != PAPER_CLASSES:
        cautions.append(
            f"The classes are {', '.join(context.classes)}, not the paper's four. The paper's columns are given for "
            "orientation only."
        )
    elif others:
        cautions.append(
            f"The corpora are not the paper's ({', '.join(others)}). The paper's columns are given for orientation, "
            "and the difference from ours does not measure how well the paper was reproduced."
        )
    return cautions


def setting_lines(context: ReportContext) -> list[tuple[str, str, str, str]]:
    """Return name, value, value at paper scale and its source of each setting that differs from the paper scale.

    A setting that the paper scale leaves to the machine ("auto") is part of the environment instead.
    """
    papers = PAPER.describe()
    return [
        (name, str(value), str(papers[name][0]), source)
        for name, (value, source) in context.settings.describe().items()
        if papers[name][0] not in (value, "auto")
    ]
