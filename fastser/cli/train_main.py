"""The way from the options of `python -m fastser.train` to a file of weights and its model card."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from fastser.augmentation import AUGMENTATIONS
from fastser.cli.console import make_console, say
from fastser.cli.kernel_test import choose_kernels
from fastser.cli.options import UsageError, chosen
from fastser.cli.prepare import prepared_dataset
from fastser.cli.steps import steps
from fastser.cli.train_options import TrainOptions
from fastser.cli.writable import writable_folder
from fastser.data.corpora import Corpus
from fastser.experiment.descriptions import corpus_record
from fastser.experiment.experiment import Experiment
from fastser.experiment.final_model import FinalModel, median_epochs, tested_runs, train_final
from fastser.experiment.roles import read_roles
from fastser.experiment.store import writing
from fastser.experiment.stored_runs import Run
from fastser.models import MODELS, Architecture
from fastser.recognition.card import write_card
from fastser.recognition.model_file import ModelDescription, write_model_file
from fastser.report.cross_validation import cross_validated_scores, cross_validation_sentence
from fastser.runtime.counted import counted
from fastser.runtime.date import today
from fastser.runtime.device import named_device
from fastser.runtime.files import expanded
from fastser.runtime.registry import Registry
from fastser.settings import TrainingSettings
from fastser.training.precision import with_chosen_precision
from fastser.training.schedule import Epoch
from fastser.training.yardsticks import YARDSTICK_AUGMENTATION, YARDSTICKS, Yardstick


def train_and_write(options: TrainOptions) -> int:
    """Train the model on all speakers, and write its file and its card.

    Raises:
        UserError: If arguments or data cannot be used.
    """
    model = _model(options)
    augmentation = _augmentation(options, model)
    asked = options.settings()
    out = writable_folder(options.out, "--out")
    corpus = read_roles(options.corpus(), None, None, options.selected_classes).source
    assert corpus is not None
    by_validation = asked.training.schedule == "plateau" and model not in YARDSTICKS
    if by_validation and options.results is None and options.epochs is None:
        other = "" if options.scale == "open" else ", or --scale open, which has a fixed number of epochs"
        raise UsageError(f"give --from RESULTS, whose runs tell the number of epochs, or --epochs N{other}")
    if options.epochs is not None and model in YARDSTICKS:
        raise UsageError(f"--epochs {options.epochs}: {model} is fitted without epochs; leave it out")
    if options.epochs is not None and options.results is not None and not by_validation:
        raise UsageError(
            f"--epochs {options.epochs}: the runs in --from have {asked.training.max_epochs} epochs, and their scores "
            "would not be those of the model; leave one of the two out"
        )
    console, kernel_mode = make_console(), options.kernel_mode()
    device = named_device(options.device)
    settings = with_chosen_precision(asked, device)
    path = out / f"{options.file_name(corpus.name)}.safetensors"
    say(console, corpus.summary, *(f"warning: {warning}" for warning in corpus.warnings))
    speeds = settings.augmentation.speed_factors if AUGMENTATIONS[augmentation].speed else ()
    dataset = prepared_dataset(corpus, settings, speeds, device, options.allow_bad_files, console)
    say(console, *(f"warning: {warning}" for warning in dataset.warnings))
    runs: list[Run] = []
    if options.results is not None:
        runs = tested_runs(expanded(options.results), dataset, settings, options.seed, model, augmentation)
        say(console, f"{counted(len(runs), 'finished run')} of this corpus in {options.results}")
    kernels, lines = choose_kernels(kernel_mode, [model], settings, device, console, here=True)
    say(console, *lines)
    epochs = _epochs(options.epochs, model, settings.training, runs)
    experiment = Experiment(settings, options.seed, dataset, None, None, device, kernels)
    final = _trained(experiment, model, augmentation, epochs, console)
    description = _description(experiment, dataset.corpus, model, augmentation, final, runs, options.epochs)
    with writing(path):
        write_model_file(path, final.weights, description)
        write_card(path, description)
    say(console, f"model: {path} ({path.stat().st_size / 1000:.0f} kB)", f"card: {path.with_suffix('.md')}")
    return 0


def _model(options: TrainOptions) -> str:
    known: Registry[Architecture | Yardstick] = Registry("model", [*MODELS.values(), *YARDSTICKS.values()])
    return _one("--model", options.model, known)


def _augmentation(options: TrainOptions, model: str) -> str:
    augmentation = _one("--augmentation", options.augmentation, AUGMENTATIONS)
    if model in YARDSTICKS and augmentation != YARDSTICK_AUGMENTATION:
        raise UsageError(f"--augmentation {augmentation}: yardsticks are fitted without augmentation; leave it out")
    return augmentation


def _one(flag: str, text: str, known: Mapping[str, Any]) -> str:
    names = chosen(flag, text, known)
    if len(names) > 1:
        raise UsageError(f"{flag} {text}: one model is trained; give one name")
    return names[0]


def _epochs(given: int | None, model: str, settings: TrainingSettings, runs: Sequence[Run]) -> int:
    """Return the number of epochs of the final model, 0 for a yardstick."""
    if model in YARDSTICKS:
        return 0
    return given or (median_epochs(runs) if settings.schedule == "plateau" else settings.max_epochs)


def _trained(experiment: Experiment, model: str, augmentation: str, epochs: int, console: Console) -> FinalModel:
    """Train the model with a progress bar, and print its losses."""
    losses: list[float] = []
    with steps(f"training {model}", epochs or None, console) as on_step:
        on_step()

        def on_epoch(epoch: Epoch) -> None:
            losses.append(epoch.loss)
            on_step(f"training loss {epoch.loss:.3f}")

        final = train_final(experiment, model, augmentation, epochs, on_epoch)
    if losses:
        loss = f"training loss {losses[0]:.3f} to {losses[-1]:.3f}"
        say(console, f"{model}, {augmentation}: {counted(epochs, 'epoch')}, {loss}")
    return final


def _description(
    experiment: Experiment,
    corpus: Corpus,
    model: str,
    augmentation: str,
    final: FinalModel,
    runs: Sequence[Run],
    epochs_given: int | None,
) -> ModelDescription:
    of_network: dict[str, Any] = {
        "epochs": len(final.history.epochs),
        "epochs_from": _source_of_epochs(experiment.settings.training, runs, epochs_given),
        "learning_rate": _course_of_the_rate(experiment.settings.training),
        "seed": final.seed,
    }
    return ModelDescription(
        architecture=model,
        classes=corpus.classes,
        normalisation=final.history.normalisation,
        settings=experiment.settings,
        training={
            "corpora": [corpus_record(corpus, corpus.utterances)],
            "augmentation": augmentation,
            **({} if model in YARDSTICKS else of_network),
            "runs": [run.id.key for run in runs],
        },
        scores=cross_validated_scores(runs) if runs else (),
        scores_of=cross_validation_sentence(runs, len(corpus.speakers)) if runs else "",
        environment=experiment.environment(),
        date=today(),
    )


def _source_of_epochs(settings: TrainingSettings, runs: Sequence[Run], given: int | None) -> str:
    if given is not None:
        return "given"
    return "that of the settings" if settings.schedule == "cosine" else f"median of the kept epochs of {len(runs)} runs"


def _course_of_the_rate(settings: TrainingSettings) -> str:
    if settings.schedule == "cosine":
        return f"{settings.learning_rate:g}, falling along half a cosine"
    return f"{settings.learning_rate:g}, constant, because no validation set is left"
