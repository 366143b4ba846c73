"""Options of `python -m fastser.sensitivity`. Torch is not imported here, so that `--help` is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastser.cli.options import GridOptions, UsageError
from fastser.runtime.options import option

if TYPE_CHECKING:
    from fastser.experiment.questions import Question


@dataclass(frozen=True, kw_only=True)
class SensitivityOptions(GridOptions):
    """Arguments of the command line. Each field is one option, in the order of `--help`."""

    questions: str | None = option(
        None, "Only these open questions, by number or name: 3,batch-size. Default: all.", metavar="A,B"
    )
    models: str | None = option("proposed,cnn", "Models to train.", metavar="A,B")
    out: Path = option(Path("sensitivity"), "Folder for tables, figure, report and finished runs.", metavar="DIR")

    def asked(self) -> "tuple[Question, ...]":
        """Return the questions of `--questions`, in the order of the registry.

        Raises:
            UsageError: If there is no such question.
        """
        from fastser.experiment.questions import QUESTIONS

        if self.questions is None:
            return tuple(QUESTIONS.values())
        known = {name: question for question in QUESTIONS.values() for name in (str(question.number), question.name)}
        given = [text.strip() for text in self.questions.split(",")]
        for text in given:
            if text not in known:
                listed = ", ".join(f"{question.number} ({question.name})" for question in QUESTIONS.values())
                raise UsageError(f"--questions: there is no question '{text}'; known are {listed}")
        wanted = {known[text] for text in given}
        return tuple(question for question in QUESTIONS.values() if question in wanted)
