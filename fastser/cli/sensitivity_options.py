"""Options of `python -m fastser.sensitivity`. Torch is not imported here, so that `--help` is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastser.cli.options import GridOptions, UsageError
from fastser.runtime.options import Group, option
from fastser.runtime.registry import UnknownNameError

if TYPE_CHECKING:
    from fastser.experiment.questions import Question
    from fastser.settings import Settings


@dataclass(frozen=True, kw_only=True)
class SensitivityOptions(GridOptions):
    """Arguments of the command line. Each field is one option, in the order of `--help`."""

    questions: str | None = option(
        None,
        "Only these open questions, by number or name: 3,batch-size. none: no question. Default: all.",
        metavar="A,B",
        group=Group.RUNS,
    )
    vary: tuple[str, ...] = option(
        (),
        "An answer of your own: settings that change together, with spaces between them, such as "
        "'training.learning_rate=3e-4 training.batch_size=32'. May be repeated.",
        metavar="'NAME=VALUE ...'",
        group=Group.RUNS,
    )
    vary_augmentation: str = option(
        "none", "Augmentation of the models that --vary compares, such as mixup.", metavar="NAME", group=Group.RUNS
    )
    models: str | None = option("proposed,cnn", "Models to train.", metavar="A,B", group=Group.RUNS)
    out: Path = option(
        Path("sensitivity"), "Folder for tables, figure, report and finished runs.", metavar="DIR", group=Group.RESULTS
    )

    def settings(self) -> "Settings":
        """Return the settings of the baseline. The study has no curve over eps, so none is computed.

        Raises:
            SettingsError: As for `GridOptions`.
            UsageError: If `--set` asks for a curve.
        """
        if any(assignment.strip().startswith("attack.curve_eps") for assignment in self.set):
            from fastser.experiment.own_answers import NO_CURVE

            raise UsageError(f"--set attack.curve_eps: {NO_CURVE}")
        return super().settings().override(["attack.curve_eps=[]"])

    def asked(self) -> "tuple[Question, ...]":
        """Return the questions of `--questions`, in the order of the registry, and that of `--vary` after them.

        Raises:
            UsageError: If there is no such question or augmentation, or no question at all.
            SettingsError: If `--set` or `--vary` cannot be used.
        """
        questions = (*self._registered(), *self._own())
        if not questions:
            raise UsageError("--questions none: there is nothing to compare; give --vary NAME=VALUE too")
        return questions

    def _registered(self) -> "tuple[Question, ...]":
        from fastser.experiment.questions import QUESTIONS

        if self.questions is None:
            return tuple(QUESTIONS.values())
        if self.questions.strip() == "none":
            return ()
        known = {name: question for question in QUESTIONS.values() for name in (str(question.number), question.name)}
        given = [text.strip() for text in self.questions.split(",")]
        if "none" in given:
            raise UsageError(f"--questions {self.questions}: 'none' stands alone")
        for text in given:
            if text not in known:
                listed = ", ".join(f"{question.number} ({question.name})" for question in QUESTIONS.values())
                raise UsageError(f"--questions: there is no question '{text}'; known are {listed}")
        wanted = {known[text] for text in given}
        return tuple(question for question in QUESTIONS.values() if question in wanted)

    def _own(self) -> "tuple[Question, ...]":
        from fastser.augmentation import AUGMENTATIONS
        from fastser.experiment.own_answers import own_question

        try:
            augmentation = AUGMENTATIONS[self.vary_augmentation]
        except UnknownNameError as error:
            raise UsageError(f"--vary-augmentation: {error}") from None
        if self.vary:
            return (own_question(self.vary, self.settings(), augmentation.name),)
        if augmentation.name != "none":
            raise UsageError(f"--vary-augmentation {augmentation.name}: there is no --vary; give --vary NAME=VALUE too")
        return ()
