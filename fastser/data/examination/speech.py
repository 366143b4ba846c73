"""Findings about a speech corpus: counts, files, durations, formats, clipping, repeated audio."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from fastser.data.corpora import Corpus
from fastser.data.corpora.checks import speakers_in_several_parts
from fastser.data.corpora.files import first_few
from fastser.data.dataset import BAD_FILES_ALLOWED
from fastser.data.examination.files import ExaminedFile, Sound, examine_files
from fastser.data.examination.finding import Finding
from fastser.data.examination.levels import level_findings
from fastser.data.examination.same_audio import SameAudio, same_audio
from fastser.runtime.counted import counted

_MANY_CLIPPED = 0.05
"""Share of clipped files that is a warning."""


@dataclass(frozen=True, slots=True)
class ExaminedCorpus:
    """A speech corpus with all its labels, and facts about its files.

    Attributes:
        corpus: The corpus.
        files: File of each utterance.
        same: Audio that occurs more than once.
    """

    corpus: Corpus
    files: tuple[ExaminedFile, ...]
    same: SameAudio

    @property
    def sounds(self) -> list[Sound]:
        """Return the facts about the usable files."""
        return [file.sound for file in self.files if isinstance(file.sound, Sound)]


def examine_corpus(corpus: Corpus, on_file: Callable[[], None] = lambda: None) -> ExaminedCorpus:
    """Examine all files of a corpus.

    Args:
        corpus: A corpus with all its labels.
        on_file: Called after each file, for a progress display.
    """
    files = tuple(examine_files([utterance.path for utterance in corpus.utterances], on_file))
    return ExaminedCorpus(corpus, files, same_audio(files))


def speech_findings(examined: ExaminedCorpus) -> list[Finding]:
    """Return all findings about one corpus, without its folds."""
    corpus = examined.corpus
    speakers = [utterance.speaker for utterance in corpus.utterances]
    return [
        *_counts(corpus),
        *_unusable(corpus, examined.files),
        *format_findings(examined.sounds),
        *level_findings(speakers, examined.files, [utterance.id for utterance in corpus.utterances]),
        *_clipped(examined),
        *_repeated(examined),
    ]


def _counts(corpus: Corpus) -> Iterator[Finding]:
    size = ", ".join(
        [
            counted(len(corpus.utterances), "utterance"),
            counted(len(corpus.speakers), "speaker"),
            counted(len(corpus.classes), "class"),
        ]
    )
    if corpus.synthetic:
        yield Finding("note", f"{size}; generated, not recorded, so scores mean nothing")
    elif corpus.release:
        yield Finding("ok", f"{size}; the label file has as many turns in each part as {corpus.release}")
    elif corpus.expected is None:
        yield Finding("ok", f"{size}; no published counts are known")
    elif corpus.complete:
        yield Finding("ok", f"{size}, as in {corpus.expected.source}")
    else:
        differences = first_few(corpus.expected.differences(corpus.utterances))
        yield Finding("error", f"{size}; the counts differ from {corpus.expected.source}: {differences}")
    if several := speakers_in_several_parts(corpus.utterances):
        yield Finding(
            "error",
            f"{counted(len(several), 'speaker')} in more than one part of the corpus' own split: {first_few(several)}. "
            "A score on this split says nothing about new speakers. A manifest without split gives folds by speaker",
        )
    said = ("without audio", "differ from", "more than one part")
    for warning in corpus.warnings:
        if not any(text in warning for text in said):
            yield Finding("warning", warning)


def _unusable(corpus: Corpus, files: Sequence[ExaminedFile]) -> Iterator[Finding]:
    """Yield an error for unusable and one for missing files. It says what `fastser.data.prepare` does with them."""
    ids = [utterance.id for utterance in corpus.utterances]
    bad = [f"{id} {file.sound}" for id, file in zip(ids, files, strict=True) if isinstance(file.sound, str)]
    lost = [id for id, _ in corpus.without_audio]
    left_out = len(bad) + (len(lost) if corpus.expected is None else 0)
    too_many = left_out > BAD_FILES_ALLOWED * (len(files) + len(lost))
    consequence = "commands refuse the corpus without --allow-bad-files" if too_many else "commands leave them out"
    if bad:
        unusable = f"{len(bad)} of {counted(len(files), 'file')} unusable"
        yield Finding("error", f"{unusable}, {consequence}: {first_few(bad)}")
    else:
        yield Finding("ok", f"all {counted(len(files), 'file')} can be decoded")
    if lost:
        yield Finding("error", f"{counted(len(lost), 'labelled file')} missing, {consequence}: {first_few(lost)}")


def format_findings(sounds: Sequence[Sound]) -> Iterator[Finding]:
    """Yield findings about durations, sample rates and channels."""
    if not sounds:
        return
    seconds = sorted(sound.seconds for sound in sounds)
    yield Finding(
        "ok",
        f"{_duration(sum(seconds))} of audio; durations from {seconds[0]:.2f} s to {seconds[-1]:.2f} s, median "
        f"{median(seconds):.2f} s",
    )
    rates = Counter(sound.rate for sound in sounds)
    shown = ", ".join(f"{rate} Hz ({counted(count, 'file')})" for rate, count in sorted(rates.items()))
    if len(rates) > 1:
        yield Finding(
            "warning", f"several sample rates: {shown}. All are resampled, but the missing upper band of some remains"
        )
    else:
        yield Finding("ok", f"sample rate {next(iter(rates))} Hz")
    channels = Counter(sound.channels for sound in sounds)
    if list(channels) != [1]:
        numbers = sorted(channels.items())
        shown = ", ".join(f"{counted(number, 'channel')} ({counted(count, 'file')})" for number, count in numbers)
        yield Finding("note", f"{shown}: channels are averaged")


def _clipped(examined: ExaminedCorpus) -> Iterator[Finding]:
    ids = [utterance.id for utterance in examined.corpus.utterances]
    clipped = [
        f"{id} ({file.sound.clipped} samples)"
        for id, file in zip(ids, examined.files, strict=True)
        if isinstance(file.sound, Sound) and file.sound.clipped
    ]
    if not clipped:
        yield Finding("ok", "no file is clipped")
        return
    many = len(clipped) > _MANY_CLIPPED * len(ids)
    yield Finding(
        "warning" if many else "note",
        f"{len(clipped)} of {counted(len(ids), 'file')} with clipped peaks (three or more neighbouring samples at full "
        f"scale): {first_few(clipped)}",
    )


def _repeated(examined: ExaminedCorpus) -> Iterator[Finding]:
    """Yield findings about audio that occurs more than once, the most serious first."""
    utterances = examined.corpus.utterances
    if not examined.same.pairs:
        yield Finding("ok", "no recording occurs twice, also not at another level or with other pauses at the ends")
        return
    found: dict[str, list[str]] = {"label": [], "speaker": [], "": []}
    for pair in examined.same.pairs:
        first, second = utterances[pair.first], utterances[pair.second]
        name = {"file": "=", "samples": "= (same samples)", "copy": "= (another level, length or sample rate)"}[
            pair.kind
        ]
        said = f"{first.id} {name} {second.id}"
        if first.emotion != second.emotion:
            found["label"].append(f"{said} ({first.emotion}, {second.emotion})")
        elif first.speaker != second.speaker:
            found["speaker"].append(f"{said} ({first.speaker}, {second.speaker})")
        else:
            found[""].append(said)
    for field in ("label", "speaker"):
        if names := found[field]:
            sentence = f"{counted(len(names), 'recording')} repeated with another {field}: {first_few(names)}"
            yield Finding("error", f"{sentence}. Keep one of each")
    if names := found[""]:
        yield Finding("warning", f"{counted(len(names), 'recording')} repeated with the same label: {first_few(names)}")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
