"""Open questions of the paper that a setting answers, and the answers that are compared with each other.

To add a question, register a `Question`. The command `fastser.sensitivity` asks all of them, one at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fastser.evaluation.condition import Condition
from fastser.evaluation.conditions import CONDITIONS
from fastser.runtime.registry import Registry
from fastser.settings import Settings


@dataclass(frozen=True)
class Answer:
    """An answer to an open question.

    Attributes:
        title: Title in tables.
        changes: Assignments as `Settings.override` takes them.
    """

    title: str
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """An open question that can be answered in more than one way.

    Attributes:
        number: Number in `docs/open-questions.md`, or None for a question of the user's own.
        name: Name on the command line and in the results.
        title: Title of its table.
        answers: Returns all answers for the settings of a baseline.
        augmentation: Augmentation of the compared models.
        models: Models on which the answer acts. Empty for all.
        conditions: Condition families or single conditions whose results the answer can move. Empty for all.
    """

    number: int | None
    name: str
    title: str
    answers: Callable[[Settings], Sequence[Answer]]
    augmentation: str = "none"
    models: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()

    def alternatives(self, baseline: Settings) -> dict[Answer, Settings]:
        """Return the answers that differ from the baseline, with all settings that they lead to."""
        changed = {answer: baseline.override(answer.changes) for answer in self.answers(baseline)}
        return {answer: settings for answer, settings in changed.items() if settings != baseline}

    def answer_of(self, baseline: Settings) -> str:
        """Return the title of the answer that the baseline gives, or its settings if no answer equals them."""
        titles = [answer.title for answer in self.answers(baseline) if baseline.override(answer.changes) == baseline]
        if titles:
            return titles[0]
        names = dict.fromkeys(
            change.partition("=")[0] for answer in self.answers(baseline) for change in answer.changes
        )
        values = baseline.describe()
        return ", ".join(f"{name}={values[name][0]}" for name in names)

    def acts_on(self, model: str) -> bool:
        """Return whether an answer can change the results of a model."""
        return not self.models or model in self.models

    def shown(self, task: str, settings: Settings, *, with_noise: bool) -> list[Condition]:
        """Return the conditions of a task whose results an answer can move.

        Single noise scenes and the curve over eps are left out.

        Args:
            task: Name of the task.
            settings: Settings of the baseline.
            with_noise: Whether there are noise recordings.
        """
        return [
            condition
            for family in CONDITIONS.values()
            if task in family.tasks and family.headline and (with_noise or not family.needs_noise)
            for condition in family.expand(settings)
            if not self.conditions or {family.name, condition.name} & {*self.conditions}
        ]


def _choices(setting: str, titles: Mapping[str, str]) -> Callable[[Settings], Sequence[Answer]]:
    """Return answers that do not depend on the baseline.

    Args:
        setting: Name of the setting, "section.name".
        titles: Title of each value.
    """
    answers = [Answer(title, (f"{setting}={value}",)) for value, title in titles.items()]
    return lambda _: answers


def _hops(baseline: Settings) -> list[Answer]:
    """Return segments that do not overlap, segments that overlap by half, and the baseline's."""
    width = baseline.spectrogram.segment_frames
    hops = sorted({width, max(width // 2, 1), baseline.spectrogram.segment_hop}, reverse=True)
    return [Answer(f"{frames} frames", (f"spectrogram.segment_hop={frames}",)) for frames in hops]


def _batch_sizes(baseline: Settings) -> list[Answer]:
    size = baseline.training.batch_size
    return [Answer(f"{n} segments", (f"training.batch_size={n}",)) for n in (max(size // 2, 2), size, 2 * size)]


def _alphas(_: Settings) -> list[Answer]:
    """Return the default and the ends of the range of values that are usual for speech and images."""
    return [Answer(f"Beta({alpha:g}, {alpha:g})", (f"augmentation.mixup_alpha={alpha}",)) for alpha in (0.2, 0.4, 1.0)]


def _bim_steps(_: Settings) -> list[Answer]:
    """Return the rule of the paper's reference (the default), and the defaults of torchattacks and of foolbox."""
    rules = {
        "24 steps of eps / 20.4": (24, 1 / 20.4),
        "10 steps of eps / 4": (10, 0.25),
        "10 steps of eps / 5": (10, 0.2),
    }
    return [
        Answer(title, (f"attack.bim_steps={steps}", f"attack.bim_relative_step={step}"))
        for title, (steps, step) in rules.items()
    ]


SCHEDULE_ANSWERS = (
    Answer("by validation accuracy", ("training.schedule=plateau", "training.monitor=accuracy")),
    Answer("by validation UAR", ("training.schedule=plateau", "training.monitor=uar")),
    Answer("fixed: cosine, last epoch", ("training.schedule=cosine",)),
)
"""Answers to the question of what sets the learning rate and chooses the epoch."""

DENSE_MODELS = ("densenet", "densenet-lstm", "proposed")
"""Models that begin with the stem."""

QUESTIONS = Registry(
    "question",
    [
        Question(
            1,
            "bins",
            "frequency bins",
            _choices("spectrogram.kind", {"linear": "linear frequency", "log-mel": "log-mel bands"}),
        ),
        Question(
            3,
            "normalisation",
            "normalisation of inputs",
            _choices(
                "spectrogram.normalisation",
                {
                    "training-set": "by the training set",
                    "speaker": "by speaker (of the tested one without labels)",
                    "utterance": "by utterance",
                },
            ),
        ),
        Question(5, "hop", "distance of segments", _hops),
        Question(
            6,
            "last-segment",
            "last segment of an utterance",
            _choices("spectrogram.last_segment", {"padded": "padded", "shifted": "shifted back", "dropped": "dropped"}),
        ),
        Question(
            12,
            "stem",
            "first convolution",
            _choices(
                "model.stem",
                {
                    "conv7x7-stride2": "7x7, stride 2",
                    "conv7x7-stride2-maxpool": "7x7, stride 2, max-pooling",
                    "conv3x3": "3x3, stride 1",
                },
            ),
            models=DENSE_MODELS,
        ),
        Question(
            16,
            "lstm-direction",
            "direction of the LSTM",
            _choices("model.lstm_directions", {"forward": "forward", "both": "both directions"}),
            models=("densenet-lstm", "proposed"),
        ),
        Question(24, "batch-size", "batch size", _batch_sizes),
        Question(
            25,
            "schedule",
            "schedule of the training",
            lambda _: SCHEDULE_ANSWERS,
        ),
        Question(26, "mixup-alpha", "distribution of mixup's weights", _alphas, augmentation="mixup"),
        Question(
            27,
            "mixup-weights",
            "mixup's weights",
            _choices("augmentation.mixup_weights", {"sample": "one per sample", "batch": "one per batch"}),
            augmentation="mixup",
        ),
        Question(
            31,
            "eps-unit",
            "unit of eps",
            _choices("attack.eps_unit", {"deviation": "standard deviation of inputs", "range": "range of inputs"}),
            conditions=("attacks",),
        ),
        Question(32, "bim-steps", "steps of BIM", _bim_steps, conditions=("bim",)),
        Question(
            39,
            "level",
            "level of recordings",
            _choices("audio.level", {"kept": "kept", "equal": "equal for all"}),
        ),
        Question(
            40,
            "dropout-place",
            "place of dropout",
            _choices(
                "model.dropout_place",
                {
                    "lstm": "after the LSTM",
                    "fuse": "on the joined features of skips and LSTM",
                    "output": "before the output",
                },
            ),
            models=("proposed",),
        ),
        Question(
            41,
            "class-weights",
            "weights of classes in the loss",
            _choices(
                "training.class_weights",
                {"none": "all equal", "balanced": "inversely proportional to their frequency"},
            ),
        ),
    ],
)
"""All questions, in the order of `docs/open-questions.md`."""
