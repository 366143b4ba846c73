"""Model cards: Markdown beside each file of weights that says what the model is, and what it is not for."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastser.data.corpora.attribution import ATTRIBUTIONS, LICENCE_PAGES
from fastser.models import MODELS
from fastser.recognition.build import takes_utterances
from fastser.recognition.model_file import ModelDescription
from fastser.recognition.packaged_models import CAUTIONS, FOLDER
from fastser.runtime.counted import counted
from fastser.runtime.files import atomic_write, printable
from fastser.training.yardsticks import YARDSTICKS

_NOT_FOR = """\
Do not use this model for decisions about a person, in hiring, schooling, policing, insurance, health care or elsewhere.
It recognises how a few speakers expressed a few emotions in one corpus. It does not recognise what a person feels.
Acted speech differs from spontaneous speech, and other languages, ages, microphones, rooms and noise were not
part of the training. The model always answers with one of its classes, also for other emotions, music and silence. Its
posteriors are not calibrated probabilities. Test it on speech of your own before you rely on it
(`docs/evaluate.md`).
"""

_LICENCE_OF_PACKAGED = """\
The weights are derived from the data above. They are distributed under the MIT licence of fastser (`LICENSE`), with the
attribution above. Keep both when you pass the weights on. This is our understanding, not legal advice.
"""


def write_card(path: Path, description: ModelDescription) -> None:
    """Write the model card of a file of weights beside it, under its name with `.md`.

    Raises:
        OSError: If the card cannot be written.
    """
    with atomic_write(path.with_suffix(".md")) as part:
        part.write_text(card_of(description, path), encoding="utf-8")


def card_of(description: ModelDescription, path: Path) -> str:
    """Return the text of a model card. That of a packaged model names the licence of the weights.

    Args:
        description: Description of the model.
        path: File of weights.
    """
    return "\n".join(_lines(description, path))


def _lines(description: ModelDescription, path: Path) -> Iterator[str]:
    is_packaged, file = path.resolve().parent == FOLDER.resolve(), printable(path.name)
    spectrogram, audio = description.settings.spectrogram, description.settings.audio
    titles = MODELS if description.architecture in MODELS else YARDSTICKS
    name = description.architecture
    title = titles[name].title if name in titles else name
    yield from (f"# {file}", "")
    kind = "yardstick of whole utterances" if takes_utterances(description) else "network of spectrogram segments"
    classes = ", ".join(description.classes)
    yield from (f"{title} ({kind}) that tells {len(description.classes)} emotions apart: {classes}.", "")
    loaded = path.stem if is_packaged else file
    yield from ("```python", "import fastser", "", f'recogniser = fastser.load_model("{loaded}")')
    yield from ('print(recogniser.predict("speech.wav"))', "```", "")
    yield from ("## Training data", "")
    for corpus in description.training.get("corpora", ()):
        yield from _corpus_lines(corpus)
    if not description.training.get("corpora"):
        yield "- not recorded"
    if is_packaged:
        yield from ("", "## Licence of the weights", "", _LICENCE_OF_PACKAGED.rstrip())
    yield from ("", "## Training", "")
    yield from (f"- {line}" for line in _training_lines(description.training))
    level = "at their own level" if audio.level == "kept" else "brought to one level"
    yield f"- features: {spectrogram.kind} spectrograms of {spectrogram.num_bins} bins, recordings {level}"
    yield f"- date: {description.date or 'not recorded'}"
    shown = ("fastser", "commit", "torch", "device")
    yield from (f"- {key}: {description.environment[key]}" for key in shown if key in description.environment)
    yield from ("", "## Scores", "")
    yield from _score_lines(description)
    if is_packaged and path.stem in CAUTIONS:
        yield from ("", CAUTIONS[path.stem])
    yield from ("", "## What it is not for", "", _NOT_FOR)


def _corpus_lines(corpus: Mapping[str, Any]) -> Iterator[str]:
    counts = ", ".join(f"{count} {name}" for name, count in corpus["classes"].items())
    speakers = ", ".join(map(str, corpus["speakers"]))
    yield f"- {corpus['title']}: {counted(corpus['utterances'], 'utterance')} ({counts})"
    yield f"  - {counted(len(corpus['speakers']), 'speaker')}: {speakers}"
    if citation := corpus.get("citation"):
        yield f"  - citation: {citation}"
    known = ATTRIBUTIONS.get(corpus.get("reader") or "")
    if known and known.page:
        yield f"  - page: <{known.page}>"
    if licence := corpus.get("licence"):
        yield f"  - licence: {_linked(licence)}"


def _linked(licence: str) -> str:
    """Return the terms of use with a link from the name of a published licence."""
    for name, page in LICENCE_PAGES.items():
        licence = licence.replace(name, f"[{name}]({page})")
    return licence


def _training_lines(training: Mapping[str, Any]) -> Iterator[str]:
    names = {
        "augmentation": "augmentation",
        "epochs": "epochs",
        "epochs_from": "number of epochs",
        "learning_rate": "learning rate",
        "seed": "seed",
        "validation_speakers": "validation speakers",
        "test_speakers": "speakers who were tested",
    }
    for key, title in names.items():
        value = training.get(key)
        if value not in (None, []):
            yield f"{title}: {', '.join(map(str, value)) if isinstance(value, list | tuple) else value}"


def _score_lines(description: ModelDescription) -> Iterator[str]:
    if not description.scores:
        yield "This model was not tested."
        return
    yield from (description.scores_of, "")
    yield from ("| condition | UAR (%) | 95 % interval | pooled accuracy (%) |", "| --- | --- | --- | --- |")
    for score in description.scores:
        low, high = score.get("low"), score.get("high")
        interval = "not known" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"
        uar, accuracy = 100 * score["uar"], 100 * score["accuracy"]
        yield f"| {score['condition']} | {uar:.1f} | {interval} | {accuracy:.1f} |"
