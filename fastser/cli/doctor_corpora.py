"""Sections of the doctor's page about speech corpora, their folds and noise."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fastser.cli.options import class_names
from fastser.data.corpora import PAPER_CLASSES, Corpus, CorpusError
from fastser.data.corpora.files import first_few
from fastser.data.corpora.texts import comparable_texts
from fastser.data.examination.files import ExaminedFile, Sound
from fastser.data.examination.finding import Finding
from fastser.data.examination.levels import difference_between, levels_by_speaker, median_level
from fastser.data.examination.noise import ExaminedNoise, noise_findings
from fastser.data.examination.same_audio import same_audio
from fastser.data.examination.speech import ExaminedCorpus, speech_findings
from fastser.experiment.fold_proof import FoldProof, prove, write_folds
from fastser.experiment.fold_warnings import fold_warnings
from fastser.experiment.folds import folds, has_own_split
from fastser.report.doctor_figures import draw_durations, draw_levels
from fastser.report.doctor_page import Section, Table
from fastser.runtime.counted import counted
from fastser.runtime.csv_file import csv_file
from fastser.settings import Settings

_BOXES = 60
"""Largest number of speakers that each have a box in the picture of levels."""


def speech_section(examined: ExaminedCorpus, out: Path, name: str) -> Section:
    """Describe a corpus, and write the table of its files.

    Args:
        examined: The corpus.
        out: Output folder.
        name: Name of the CSV file.
    """
    corpus = examined.corpus
    write_files(out / "files" / f"{name}.csv", corpus, examined.files)
    said: dict[str, Counter[str]] = defaultdict(Counter)
    seconds: dict[str, float] = defaultdict(float)
    for utterance, file in zip(corpus.utterances, examined.files, strict=True):
        said[utterance.speaker][utterance.emotion] += 1
        seconds[utterance.speaker] += file.sound.seconds if isinstance(file.sound, Sound) else 0
    levels = levels_by_speaker([utterance.speaker for utterance in corpus.utterances], examined.files)
    rows = [
        (
            speaker,
            *(str(said[speaker][emotion]) for emotion in corpus.classes),
            f"{seconds[speaker]:.0f}",
            f"{levels[speaker]:.1f}" if speaker in levels else "",
        )
        for speaker in corpus.speakers
    ]
    counts = corpus.class_counts()
    all_speakers = ("all", *(str(counts[emotion]) for emotion in corpus.classes), f"{sum(seconds.values()):.0f}", "")
    header = ("speaker", *corpus.classes, "seconds", "median level (dB)")
    return Section(
        f"Corpus: {corpus.title}",
        tuple(speech_findings(examined)),
        (Table("Utterances by speaker and class", header, (*rows, all_speakers)),),
    )


def write_files(path: Path, corpus: Corpus, files: Sequence[ExaminedFile]) -> None:
    """Write the facts about each file of a corpus as CSV."""
    columns = ["id", "speaker", "emotion", "seconds", "rate", "channels", "level_db", "peak", "clipped", "problem"]
    with csv_file(path, columns) as write_row:
        for utterance, file in zip(corpus.utterances, files, strict=True):
            start = [utterance.id, utterance.speaker, utterance.emotion]
            sound = file.sound
            if isinstance(sound, str):
                write_row([*start, *[""] * 6, sound])
            else:
                facts = [f"{sound.seconds:.4f}", sound.rate, sound.channels, f"{sound.level_db:.2f}"]
                write_row([*start, *facts, f"{sound.peak:.5f}", sound.clipped, ""])


def chosen_classes(corpus: Corpus, classes: str | None) -> tuple[str, ...] | None:
    """Return the classes of the folds, or None for all labels.

    Args:
        corpus: A corpus with all its labels.
        classes: Value of `--classes`.
    """
    if classes is None:
        return PAPER_CLASSES if set(PAPER_CLASSES) <= set(corpus.classes) else None
    return class_names(classes)


def folds_section(
    examined: ExaminedCorpus, classes: Sequence[str] | None, settings: Settings, out: Path, name: str
) -> Section:
    """Make the folds of the usable files, compare both sides of each, and write them as CSV.

    Args:
        examined: The corpus.
        classes: Classes of the folds, or None for all labels.
        settings: Settings of the protocol.
        out: Output folder.
        name: Name of the CSV file.

    Raises:
        CorpusError: If the corpus cannot have one of the classes.
    """
    whole = examined.corpus
    selected = whole.select(classes)
    audio = {u.id: group for u, group in zip(whole.utterances, examined.same.group, strict=True)}
    usable = {u.id for u, file in zip(whole.utterances, examined.files, strict=True) if isinstance(file.sound, Sound)}
    corpus = replace(selected, utterances=tuple(u for u in selected.utterances if u.id in usable))
    title = f"Folds: {corpus.title} ({', '.join(corpus.classes)})"
    minimum = settings.protocol.min_validation_utterances
    try:
        made = folds(corpus, minimum)
    except CorpusError as error:
        return Section(title, (Finding("error", f"there are no folds: {error}"),))
    groups = [audio[utterance.id] for utterance in corpus.utterances]
    texts = comparable_texts(corpus.utterances)
    proofs = [prove(corpus, fold, groups, texts) for fold in made]
    path = out / "folds" / f"{name}.csv"
    write_folds(path, corpus, made)
    kind = "the corpus' own split" if has_own_split(corpus) else f"{len(made)} folds, each with one test speaker"
    findings = [
        Finding("ok", f"{kind}, written to {path}"),
        *_leaks(proofs),
        *_shared_texts(proofs, texts),
        *(
            Finding("warning", warning.removeprefix(f"{corpus.title}: "))
            for warning in fold_warnings(corpus, made, settings)
        ),
    ]
    header = (
        "fold",
        "training",
        "validation",
        "test",
        "shared speakers",
        "shared recordings",
        "shared texts",
        "SHA-256",
    )
    rows = tuple(
        (
            proof.fold.name,
            *(str(len(part)) for part in (proof.fold.train, proof.fold.validation, proof.fold.test)),
            str(len(proof.speakers)),
            str(len(proof.recordings)),
            "unknown" if proof.texts is None else str(proof.texts),
            proof.digest,
        )
        for proof in proofs
    )
    return Section(title, tuple(findings), (Table("Folds, and what their sides share", header, rows),))


def _leaks(proofs: Sequence[FoldProof]) -> list[Finding]:
    """Return findings about what the sides of the folds share."""
    findings = []
    speakers = [f"fold {proof.fold.name} ({first_few(proof.speakers)})" for proof in proofs if proof.speakers]
    recordings = [f"fold {proof.fold.name} ({first_few(proof.recordings)})" for proof in proofs if proof.recordings]
    if speakers:
        findings.append(
            Finding("error", f"speakers are in several parts of {len(speakers)} folds: {first_few(speakers)}")
        )
    if recordings:
        said = f"the audio of test utterances is also in training or validation of {len(recordings)} folds"
        findings.append(Finding("error", f"{said}: {first_few(recordings)}. Remove one of each"))
    if not findings:
        findings.append(Finding("ok", "no leakage: no speaker and no recording is on both sides of any fold"))
    return findings


def _shared_texts(proofs: Sequence[FoldProof], texts: Sequence[str | None]) -> list[Finding]:
    """Return a finding about texts that the sides of the folds share.

    Args:
        proofs: Comparison of the sides of each fold.
        texts: Text of each utterance where it is known.
    """
    if not (shared := [proof.texts for proof in proofs if proof.texts]):
        return []
    known = sum(text is not None for text in texts)
    of_some = "" if known == len(texts) else f". The texts of {known} of {len(texts)} utterances are known"
    number = f"{counted(len(shared), 'fold')} (up to {counted(max(shared), 'text')})"
    return [
        Finding("note", f"the same texts are spoken on both sides of {number}: scores are for known texts{of_some}")
    ]


def together_section(corpora: Sequence[ExaminedCorpus], out: Path) -> Section:
    """Compare corpora with each other, and draw their levels and durations.

    Args:
        corpora: One or two corpora with different titles, each with a usable file.
        out: Output folder.
    """
    levels = {c.corpus.title: level for c in corpora if (level := median_level(c.files)) is not None}
    findings = [*difference_between(levels), *_shared_audio(corpora)]
    draw_levels(out / "levels.png", {c.corpus.title: _by_speaker(c) for c in corpora})
    draw_durations(out / "durations.png", {c.corpus.title: _by_class(c) for c in corpora})
    pictures = (("levels.png", "Level of each recording, by speaker"), ("durations.png", "Durations by class"))
    return Section("Levels and durations", tuple(findings), pictures=pictures)


def _by_speaker(examined: ExaminedCorpus) -> Mapping[str, Sequence[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    many = len(examined.corpus.speakers) > _BOXES
    for utterance, file in zip(examined.corpus.utterances, examined.files, strict=True):
        if isinstance(file.sound, Sound):
            found[f"all {len(examined.corpus.speakers)}" if many else utterance.speaker].append(file.sound.level_db)
    return found


def _by_class(examined: ExaminedCorpus) -> Mapping[str, Sequence[float]]:
    found: dict[str, list[float]] = {emotion: [] for emotion in examined.corpus.classes}
    for utterance, file in zip(examined.corpus.utterances, examined.files, strict=True):
        if isinstance(file.sound, Sound):
            found[utterance.emotion].append(file.sound.seconds)
    return {emotion: seconds for emotion, seconds in found.items() if seconds}


def _shared_audio(corpora: Sequence[ExaminedCorpus]) -> list[Finding]:
    """Return a finding about audio that two corpora share."""
    if len(corpora) < 2:
        return []
    first, second = corpora
    groups = same_audio([*first.files, *second.files]).group
    owners = {group: u.id for u, group in zip(first.corpus.utterances, groups, strict=False)}
    own = groups[len(first.files) :]
    shared = [f"{u.id} = {owners[g]}" for u, g in zip(second.corpus.utterances, own, strict=True) if g in owners]
    titles = f"{second.corpus.title} and {first.corpus.title}"
    if shared:
        said = f"{titles} share {counted(len(shared), 'recording')}: {first_few(shared)}"
        return [Finding("error", f"{said}. Scores across these corpora are too good")]
    return [Finding("ok", f"{titles} share no recording")]


def noise_section(examined: ExaminedNoise, settings: Settings, speech: Sequence[ExaminedCorpus]) -> Section:
    """Describe noise recordings.

    Args:
        examined: The noise.
        settings: Settings, which name the scenes of the tests.
        speech: Corpora whose utterances need noise as long as they are.
    """
    longest = max((sound.seconds for corpus in speech for sound in corpus.sounds), default=0.0)
    rows = []
    for scene, sounds in examined.by_scene().items():
        levels = [sound.level_db for sound in sounds]
        span = f"{min(levels):.1f} to {max(levels):.1f}" if levels else ""
        longest_of_scene = max((sound.seconds for sound in sounds), default=0.0)
        total = sum(sound.seconds for sound in sounds)
        rows.append((scene, str(len(sounds)), f"{total:.0f}", f"{longest_of_scene:.1f}", span))
    header = ("scene", "recordings", "seconds", "longest (s)", "level (dB)")
    return Section(
        f"Noise: {examined.noise.title}",
        tuple(noise_findings(examined, settings.noise.scenes, longest)),
        (Table("Scenes", header, tuple(rows)),),
    )
