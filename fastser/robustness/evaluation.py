"""Robustness test of one model on one corpus."""

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from fastser.data.corpora import Corpus, CorpusError, read_corpus, read_noise
from fastser.data.corpora.named_path import named_path
from fastser.data.dataset import Dataset, Subset, prepare, prepare_noise
from fastser.data.noise import NoiseBank, NoiseError
from fastser.data.normalisation import Normalisation
from fastser.data.splits import read_split
from fastser.evaluation.adapter import AdaptedModel, Padding, WaveformModel
from fastser.evaluation.condition import Condition
from fastser.evaluation.conditions import CurvePoint
from fastser.evaluation.further_conditions import RobustnessSettings
from fastser.evaluation.inference import result_of
from fastser.evaluation.metrics import ConditionResult
from fastser.evaluation.model_error import ModelError
from fastser.evaluation.segment_trial import SegmentTrial
from fastser.evaluation.trial import Trial
from fastser.evaluation.waveform_trial import WaveformTrial
from fastser.experiment.keys import ONLY_CONDITIONS, RESULT_FORMAT
from fastser.robustness import leakage
from fastser.robustness.attack_checks import RandomSigns, check_model, check_results
from fastser.robustness.kept import KeptPosteriors
from fastser.robustness.result import Evaluation
from fastser.robustness.selection import select
from fastser.robustness.subject import Inputs, Subject, subject_of
from fastser.runtime.counted import counted
from fastser.runtime.digests import digest
from fastser.runtime.full_memory import is_out_of_memory
from fastser.settings import PAPER, Settings

WAVEFORMS_IN_A_BATCH = 8
"""Utterances in one batch of a model of waveforms, unless another number is given."""

LEVELS = RobustnessSettings()
"""Levels of the further conditions, unless others are given."""

Choose = Callable[[Dataset], tuple[Subset, list[str]]]
"""Chooses the test set of a prepared corpus. The sentences become notes of the result."""


def evaluate(
    model: Any,
    corpus: str | Corpus,
    *,
    noise: str | None = None,
    inputs: Inputs = "segments",
    classes: Sequence[str] | None = None,
    normalisation: Normalisation | tuple[float, float] | None = None,
    speakers: Collection[str] | None = None,
    split: str | Path | None = None,
    allow_leakage: bool = False,
    allow_bad_files: bool = False,
    conditions: Sequence[str] = ("paper",),
    settings: Settings = PAPER,
    levels: RobustnessSettings = LEVELS,
    padding: Padding | None = None,
    batch_size: int = WAVEFORMS_IN_A_BATCH,
    device: torch.device | str = "cpu",
    seed: int = 0,
    title: str | None = None,
    out: str | Path | None = None,
    progress: bool = True,
) -> Evaluation:
    """Test a model under noise, attacks and other changes of the speech.

    Args:
        model: A `torch.nn.Module`; a callable on NumPy arrays, which has no gradient and is not attacked; the path of a
            `.safetensors` file that `python -m fastser.train` or `python -m fastser.reproduce --keep-models` wrote; or
            the name of a packaged model, such as "emodb". A module or callable returns logits, probabilities, a tuple
            that begins with them, or an object with `.logits`.
        corpus: Speech as "NAME=PATH", such as "emodb=/data/EMODB", or a corpus of `fastser.data.read_corpus`.
        noise: Noise recordings as "NAME=PATH", such as "folder=/data/noise".
        inputs: "segments": normalised spectrograms [batch, frames, bins], several per utterance, whose posteriors are
            averaged. "waveform": whole utterances [batch, samples], full scale 1.0, at `settings.audio.sample_rate`. A
            callable gets segments as a batch too, but one waveform [samples] at a time, and returns its row of outputs.
        classes: Names of the model's outputs, in their order. Utterances of other classes are left out, and so are
            outputs that the corpus lacks. A note says so. None for a file of weights, which names its classes.
        normalisation: Mean and standard deviation of segments in decibels. None uses those of the tested speech, and a
            note says so. A file of weights has its own, so that None is the only choice for it.
        speakers: Only these speakers.
        split: CSV file with the columns `file` and `set` (`fastser.data.splits`). Its test set is tested, and both
            sides are checked for common speakers, audio and texts.
        allow_leakage: Go on although a speaker or a recording is on both sides of the split, or a speaker was in the
            training of a file of weights. A note says so.
        allow_bad_files: Go on even if more than 5 % of the corpus' files are unusable.
        conditions: Suites ("paper", "quick", "all"), families or single conditions. Clean speech is always tested.
        settings: Audio, spectrogram, noise and attack settings. Audio and spectrogram settings of a file of weights
            replace those given.
        levels: Levels of the conditions that the paper does not have, such as a curve over eps:
            `RobustnessSettings(pgd_eps=(0.01, 0.02, 0.04))`.
        padding: How a model of waveforms learns the lengths of a batch: "attention_mask" or "lengths" (a parameter of
            that name), "none" (it ignores zeros on the right), "one by one". By default a parameter's name decides.
        batch_size: Utterances in a batch of a model of waveforms. Random starts of PGD on waveforms depend on it.
        device: Device of the data, to which the model is moved.
        seed: Seed of noise and other random changes.
        title: Name for tables.
        out: Folder in which finished conditions are kept, so that the same call continues after an interruption. It has
            no effect for a callable, whose weights are not known.
        progress: Print a line to standard error when the corpus is read and when each condition begins.

    Returns:
        Predictions under all conditions, with intervals. `print` shows them as a table.

    Raises:
        ModelError: If the model cannot be tested, or its output has another shape than its classes.
        CorpusError: If the corpus or the noise cannot be read, or tested speakers are known from the training.

    Example:
        >>> import fastser
        >>> classes = ["angry", "happy", "neutral", "sad"]
        >>> result = fastser.evaluate(my_model, "emodb=EMODB", classes=classes)  # doctest: +SKIP
        >>> result.save("robustness/")  # doctest: +SKIP
    """
    if speakers is not None and split is not None:
        raise ModelError("give either speakers or split, not both")
    subject = subject_of(model, settings, classes=classes, inputs=inputs, normalisation=normalisation, title=title)
    whole = read_corpus(*name_and_path("corpus", corpus), None) if isinstance(corpus, str) else corpus

    def choose(dataset: Dataset) -> tuple[Subset, list[str]]:
        if split is not None:
            return _test_set_of_split(dataset, whole, Path(split), allow_leakage)
        return _test_set_of_speakers(dataset, speakers), []

    return evaluate_chosen(
        subject,
        whole,
        choose,
        noise=noise,
        allow_leakage=allow_leakage,
        allow_bad_files=allow_bad_files,
        conditions=conditions,
        levels=levels,
        padding=padding,
        batch_size=batch_size,
        device=device,
        seed=seed,
        out=out,
        progress=progress,
    )


def evaluate_chosen(
    subject: Subject,
    whole: Corpus,
    choose: Choose,
    *,
    noise: str | None,
    allow_leakage: bool,
    allow_bad_files: bool,
    conditions: Sequence[str],
    levels: RobustnessSettings,
    padding: Padding | None,
    batch_size: int,
    device: torch.device | str,
    seed: int,
    out: str | Path | None,
    progress: bool,
) -> Evaluation:
    """Test a subject on those utterances of a corpus that `choose` takes.

    All arguments after the first three are those of `evaluate`.

    Raises:
        ModelError: As `evaluate`.
        CorpusError: As `evaluate`.
    """
    device = torch.device(device)
    notes: list[str] = []
    speech = _speech(whole, subject, notes)
    settings, recordings = _noise(noise, subject.settings, notes)
    if progress:
        print(f"reading {speech.title}: {counted(len(speech.utterances), 'utterance')}", file=sys.stderr, flush=True)
    dataset = prepare(speech, settings, device=device, allow_bad_files=allow_bad_files)
    test, sentences = choose(dataset)
    notes += [*filter(None, [speech.missing_audio]), *dataset.warnings, *sentences]
    notes += leakage.of_training(subject.training, test, allow_leakage)
    columns = [subject.classes.index(name) for name in dataset.corpus.classes]
    adapted, trial = _trial(subject, test, columns, settings, padding, batch_size, recordings, seed, notes)
    tested, left_out = select(
        conditions,
        settings,
        levels,
        num_speakers=len({utterance.speaker for utterance in dataset.corpus.utterances}),
        with_noise=noise is not None,
        differentiable=trial.differentiable,
    )
    notes += left_out
    if progress:
        trial.on_condition = lambda name: print(f"testing {name}", file=sys.stderr, flush=True)
    kept = None
    if out is not None and subject.key is None:
        notes.append("finished conditions are not kept for another call, since the state of the model is not known")
    elif out is not None:
        kept = KeptPosteriors(Path(out), _key(subject, columns, trial, padding))
    results: dict[Condition, ConditionResult] = {}
    with _modes_kept(subject.model):
        for condition in tested:
            with _failures_named(condition.name):
                results[condition] = _result(trial, condition, kept)
        if any(condition.cost(settings).attack_steps or isinstance(condition, CurvePoint) for condition in tested):
            notes += _attack_notes(trial, adapted, results)
    if progress and kept is not None and kept.reused:
        print(f"{kept.reused} of {len(tested)} conditions were kept by an earlier call", file=sys.stderr, flush=True)
    by_name = {condition.name: result for condition, result in results.items()}
    return Evaluation(subject.title, dataset.corpus.title, dataset.corpus.classes, by_name, tuple(notes))


def _speech(whole: Corpus, subject: Subject, notes: list[str]) -> Corpus:
    """Return the utterances of the classes that model and corpus share, in the order of the model's outputs."""
    found = whole.class_counts()
    shared = [name for name in subject.classes if name in found]
    if len(shared) < 2:
        raise ModelError(
            f"{whole.title} has the classes {', '.join(sorted(found))}, the model {', '.join(subject.classes)}: fewer "
            "than two in common; give the labels of the corpus the model's names, for a manifest with fastser.manifest "
            "--map NAME=LABEL"
        )
    if foreign := [name for name in subject.classes if name not in found]:
        notes.append(f"outputs left out, since {whole.title} has no such class: {', '.join(foreign)}")
    if unknown := [f"{name} ({count})" for name, count in sorted(found.items()) if name not in subject.classes]:
        notes.append(f"utterances left out, since the model has no such class: {', '.join(unknown)}")
    return whole.select(shared)


def _noise(noise: str | None, settings: Settings, notes: list[str]) -> tuple[Settings, NoiseBank | None]:
    """Return the recordings of the settings' scenes, or of all scenes if these are not there."""
    if noise is None:
        return settings, None
    recordings = read_noise(*name_and_path("noise", noise))
    if not set(settings.noise.scenes) <= set(recordings.scenes):
        notes.append(f"noise scenes: {', '.join(recordings.scenes)} instead of {', '.join(settings.noise.scenes)}")
        scenes = settings.noise.model_copy(update={"scenes": tuple(recordings.scenes)})
        settings = settings.model_copy(update={"noise": scenes})
    return settings, prepare_noise(recordings, settings)


def name_and_path(argument: Literal["corpus", "noise"], text: str) -> tuple[str, Path]:
    """Split the NAME=PATH of an argument.

    Raises:
        ModelError: If it is not NAME=PATH.
    """
    try:
        option, example = ("--noise", "folder") if argument == "noise" else ("--source", "emodb")
        return named_path(f"{argument} ({option})", text, example)
    except CorpusError as error:
        raise ModelError(str(error)) from None


def _test_set_of_split(dataset: Dataset, whole: Corpus, split: Path, allow_leakage: bool) -> tuple[Subset, list[str]]:
    """Return the test set of a split file, and sentences about the split."""
    parts = read_split(split, dataset.corpus, whole)
    outside = len(dataset.corpus.utterances) - sum(map(len, parts.values()))
    sentences = [f"{counted(outside, 'utterance')} in no set of the split"] if outside else []
    sentences += leakage.of_split(dataset, split, parts, allow_leakage)
    return dataset.subset(parts["test"]), sentences


def _test_set_of_speakers(dataset: Dataset, speakers: Collection[str] | None) -> Subset:
    """Return the utterances of some speakers, or of all of them."""
    utterances = dataset.corpus.utterances
    if speakers is None:
        return dataset.subset(range(len(utterances)))
    if isinstance(speakers, str) or not speakers:
        raise ModelError(f"speakers is {speakers!r}, expected a list of names")
    known = {utterance.speaker for utterance in utterances}
    if foreign := [name for name in speakers if name not in known]:
        raise ModelError(f"{dataset.corpus.title} has no speaker '{foreign[0]}'; it has {', '.join(sorted(known))}")
    return dataset.subset([i for i, utterance in enumerate(utterances) if utterance.speaker in speakers])


def _trial(
    subject: Subject,
    test: Subset,
    columns: Sequence[int],
    settings: Settings,
    padding: Padding | None,
    batch_size: int,
    noise: NoiseBank | None,
    seed: int,
    notes: list[str],
) -> tuple[AdaptedModel, Trial]:
    """Return the model as conditions see it, and its trial."""
    device, outputs = test.segments.device, len(subject.classes)
    if subject.inputs == "waveform":
        model = WaveformModel(subject.model, columns, outputs, padding).to(device)
        return model, WaveformTrial(model, test, settings, batch_size, noise=noise, noise_seed=seed)
    adapted = AdaptedModel(subject.model, columns, outputs).to(device)
    normalisation = subject.normalisation or test.normalisation()
    if subject.normalisation is None:
        unit = " dB" if test.dataset.bank.moments is None else ""
        level = f"{normalisation.mean:.2f} ± {normalisation.std:.2f}{unit}"
        notes.append(f"segments are normalised by the tested speech ({level}); --normalisation gives other numbers")
    trial = SegmentTrial(adapted, test, settings, normalisation, noise=noise, noise_seed=seed)
    trial.differentiable = adapted.differentiable
    return adapted, trial


def _result(trial: Trial, condition: Condition, kept: KeptPosteriors | None) -> ConditionResult:
    """Return the predictions under a condition, the kept ones if there are any.

    Raises:
        ModelError: If some of them are no numbers.
    """
    found = trial.posteriors(condition) if kept is None else kept.posteriors(trial, condition)
    if bad := int((~found.isfinite().all(dim=1)).sum()):
        where = f"{bad} of {len(found)} utterances under {condition.name}"
        raise ModelError(f"the model returns NaN or infinity for {where}")
    return result_of(trial.test, found)


def _attack_notes(trial: Trial, model: AdaptedModel, results: Mapping[Condition, ConditionResult]) -> list[str]:
    """Return sentences about attacks that may be weaker than they look."""
    chance = RandomSigns()
    trial.on_condition = lambda _: None
    uar = {condition: result.uar for condition, result in results.items()}
    uar[chance] = _result(trial, chance, None).uar
    return [f"attacks: {sentence}" for sentence in [*check_model(trial, model), *check_results(uar)]]


def _key(subject: Subject, columns: Sequence[int], trial: Trial, padding: Padding | None) -> str:
    """Return a digest of everything but the condition that posteriors depend on."""
    normalisation = asdict(trial.normalisation) if isinstance(trial, SegmentTrial) else None
    recordings = None if trial.noise is None else [trial.noise.waveforms.key, trial.noise.scenes]
    used = trial.settings.model_dump(include={"audio", "spectrogram", "noise", "attack", "evaluation"})
    used["attack"] = trial.settings.attack.model_dump(exclude=ONLY_CONDITIONS)
    test = [trial.test.dataset.key, trial.test.utterances]
    model = [subject.key, subject.classes, list(columns), subject.inputs, padding, normalisation]
    sizes = trial.batch_size if isinstance(trial, WaveformTrial) else None
    return digest(RESULT_FORMAT, model, sizes, recordings, used, test, trial.noise_seed)


@contextmanager
def _failures_named(condition: str) -> Iterator[None]:
    """Turn an exception of other people's model into one sentence that names the condition."""
    try:
        yield
    except (ModelError, CorpusError, NoiseError, OSError, MemoryError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        first = next(iter(str(error).splitlines()), "")
        raise ModelError(f"the model fails under {condition}: {type(error).__name__}: {first}") from error


@contextmanager
def _modes_kept(model: Any) -> Iterator[None]:
    """Restore the `training` flags of a module at the end of the block."""
    modes = [(module, module.training) for module in model.modules()] if isinstance(model, nn.Module) else []
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
