"""Findings about noise recordings: scenes, formats, lengths, levels, repeated audio."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fastser.data.corpora import NoiseCorpus
from fastser.data.corpora.files import first_few
from fastser.data.examination.files import ExaminedFile, Sound, examine_files
from fastser.data.examination.finding import Finding
from fastser.data.examination.same_audio import SameAudio, same_audio
from fastser.data.examination.speech import format_findings
from fastser.runtime.counted import counted


@dataclass(frozen=True, slots=True)
class ExaminedNoise:
    """Noise recordings, and facts about their files.

    Attributes:
        noise: The recordings.
        files: File of each recording.
        same: Audio that occurs more than once.
    """

    noise: NoiseCorpus
    files: tuple[ExaminedFile, ...]
    same: SameAudio

    def by_scene(self) -> dict[str, list[Sound]]:
        """Return the facts about the usable files of each scene, sorted by scene."""
        found: dict[str, list[Sound]] = {scene: [] for scene in self.noise.scenes}
        for recording, file in zip(self.noise.recordings, self.files, strict=True):
            if isinstance(file.sound, Sound):
                found[recording.scene].append(file.sound)
        return found


def examine_noise(noise: NoiseCorpus, on_file: Callable[[], None] = lambda: None) -> ExaminedNoise:
    """Examine all files of a noise corpus.

    Args:
        noise: Noise recordings.
        on_file: Called after each file, for a progress display.
    """
    files = tuple(examine_files([recording.path for recording in noise.recordings], on_file))
    return ExaminedNoise(noise, files, same_audio(files))


def noise_findings(examined: ExaminedNoise, scenes: Sequence[str], longest: float) -> list[Finding]:
    """Return all findings about noise.

    Args:
        examined: The noise.
        scenes: Scenes of the settings, with which the conditions are tested.
        longest: Duration of the longest utterance in seconds, 0 without speech.
    """
    sounds = [file.sound for file in examined.files if isinstance(file.sound, Sound)]
    return [
        *(Finding("warning", warning) for warning in examined.noise.warnings),
        *_scenes(examined, scenes),
        *_unusable(examined),
        *format_findings(sounds),
        *_lengths(examined, scenes, longest),
        *_repeated(examined),
    ]


def _scenes(examined: ExaminedNoise, scenes: Sequence[str]) -> Iterator[Finding]:
    found = examined.noise.scenes
    size = f"{counted(len(examined.files), 'recording')} of {counted(len(found), 'scene')} ({first_few(found, 6)})"
    if missing := [scene for scene in scenes if scene not in found]:
        yield Finding(
            "warning",
            f"{size}; the settings name {', '.join(missing)}, which the folder does not have. "
            f"--set noise.scenes={','.join(found)} takes those of the folder",
        )
    else:
        yield Finding("ok", size)


def _unusable(examined: ExaminedNoise) -> Iterator[Finding]:
    """Yield an error if a file cannot be decoded. `prepare_noise` refuses such noise."""
    bad = [f"{file.path.name} {file.sound}" for file in examined.files if isinstance(file.sound, str)]
    if bad:
        sentence = f"{len(bad)} of {counted(len(examined.files), 'file')} unusable, remove them: {first_few(bad)}"
        yield Finding("error", sentence)
    else:
        yield Finding("ok", f"all {counted(len(examined.files), 'file')} can be decoded")


def _lengths(examined: ExaminedNoise, scenes: Sequence[str], longest: float) -> Iterator[Finding]:
    """Yield findings about scenes without a recording that is as long as the longest utterance."""
    lengths = {scene: max((s.seconds for s in sounds), default=0.0) for scene, sounds in examined.by_scene().items()}
    short = [f"{scene} ({length:.1f} s)" for scene, length in lengths.items() if length < longest]
    tested = any(lengths[scene] < longest for scene in scenes if scene in lengths)
    if short:
        yield Finding(
            "error" if tested else "note",
            f"the longest utterance has {longest:.1f} s, no recording of these scenes is as long: {first_few(short)}",
        )
    elif longest:
        yield Finding("ok", f"every scene has a recording that is as long as the longest utterance ({longest:.1f} s)")


def _repeated(examined: ExaminedNoise) -> Iterator[Finding]:
    recordings, across, within = examined.noise.recordings, [], defaultdict[str, int](int)
    for pair in examined.same.pairs:
        first, second = recordings[pair.first], recordings[pair.second]
        if first.scene == second.scene:
            within[first.scene] += 1
        else:
            across.append(f"{first.scene}/{first.path.name} = {second.scene}/{second.path.name}")
    if across:
        yield Finding("warning", f"{counted(len(across), 'recording')} in two scenes: {first_few(across)}")
    if within:
        scenes = first_few([f"{scene} ({count})" for scene, count in within.items()])
        yield Finding("note", f"{counted(sum(within.values()), 'recording')} repeated within a scene: {scenes}")
    if not examined.same.pairs:
        yield Finding("ok", "no recording occurs twice")
