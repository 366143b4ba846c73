"""The user's own question: assignments of settings, compared with the baseline like answers to open questions."""

from collections.abc import Sequence

from fastser.experiment.questions import Answer, Question
from fastser.settings import Settings, SettingsError

COMMON_SECTIONS = ("noise", "protocol")
"""Sections that the baseline and all answers share, because these settings say what the models are tested on."""

NO_CURVE = "this study has no curve over eps; fastser.reproduce draws it"
"""End of the error for `attack.curve_eps`."""


def own_question(texts: Sequence[str], baseline: Settings, augmentation: str) -> Question:
    """Return the question whose answers are the texts of `--vary`.

    Args:
        texts: A text for each answer: assignments as `Settings.override` takes them, with spaces between them.
        baseline: Settings of the baseline.
        augmentation: Name of the augmentation of the compared models.

    Raises:
        SettingsError: If an assignment is invalid or changes a common section, or if an answer repeats the settings of
            the baseline or of another answer.

    Example:
        >>> from fastser.settings import QUICK
        >>> question = own_question(["training.learning_rate=3e-4"], QUICK, "none")
        >>> [settings.training.learning_rate for settings in question.alternatives(QUICK).values()]
        [0.0003]
    """
    found = {baseline: "the baseline"}
    answers = []
    for text in texts:
        changes = tuple(text.split())
        if not changes:
            raise SettingsError("--vary: the text is empty; give NAME=VALUE")
        if any(_is_torn(change) for change in changes):
            raise SettingsError(
                f"--vary {text}: assignments stand with spaces between them and none inside, such as "
                '"training.batch_size=32 model.cnn_units=64,32"'
            )
        answer = Answer(" ".join(changes), changes)
        option = f"--vary {answer.title}"
        settings = baseline.override(changes, given=option)
        for section in COMMON_SECTIONS:
            if getattr(settings, section) != getattr(baseline, section):
                raise SettingsError(
                    f"{option}: the baseline and its answers are compared under the same {section} settings; change "
                    "them for all with --set"
                )
        if settings.attack.curve_eps != baseline.attack.curve_eps:
            raise SettingsError(f"{option}: {NO_CURVE}")
        if settings in found:
            raise SettingsError(f"{option}: has the same settings as {found[settings]}; leave it out")
        found[settings] = option
        answers.append(answer)
    return Question(None, "own-answers", "own answers", lambda _: answers, augmentation=augmentation)


def _is_torn(change: str) -> bool:
    """Return whether a text is a part of an assignment, or holds two of them."""
    name, equals, value = change.partition("=")
    return "=" in value or (not equals and "." not in name)
