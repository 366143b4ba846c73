"""Examination of corpora: facts about files, repeated audio, levels, findings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from fastser.data.audio import decode
from fastser.data.corpora import Corpus, NoiseCorpus, NoiseRecording, Utterance
from fastser.data.corpora.expected import ExpectedCounts
from fastser.data.examination import same_audio as same_audio_module
from fastser.data.examination.files import Sound, clipped_samples, examine_file
from fastser.data.examination.finding import Finding
from fastser.data.examination.levels import difference_between, level_findings
from fastser.data.examination.noise import examine_noise, noise_findings
from fastser.data.examination.same_audio import SameAudio, same_audio
from fastser.data.examination.speech import ExaminedCorpus, examine_corpus, speech_findings

pytestmark = pytest.mark.fast
RATE = 16_000


def speech_like(seed: int, seconds: float = 0.5) -> np.ndarray:
    """Return low noise whose level varies like that of syllables."""
    generator = np.random.default_rng(seed)
    count = int(RATE * seconds)
    syllables = np.interp(np.arange(count), np.linspace(0, count, 9), generator.uniform(0.02, 1, 9))
    return np.convolve(generator.uniform(-0.25, 0.25, count), np.hanning(9) / 2, "same") * syllables


def written(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    """Write 16-bit samples, which libsndfile rounds in one way for WAV and in another for FLAC."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(np.round(samples * 2**15), -(2**15), 2**15 - 1).astype(np.int16), rate)
    return path


def corpus_of(files: dict[str, tuple[str, str]], folder: Path) -> Corpus:
    """Return a corpus of name -> (speaker, emotion)."""
    utterances = [Utterance(name, folder / f"{name}.wav", *of) for name, of in files.items()]
    return Corpus("manifest", "Mini", folder, tuple(utterances))


def said(findings: list[Finding], severity: str) -> str:
    return "\n".join(finding.sentence for finding in findings if finding.severity == severity)


def test_facts_about_a_file(tmp_path: Path) -> None:
    tone = 0.1 * np.sqrt(2) * np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050)
    sound = examine_file(written(tmp_path / "a.wav", np.stack([tone, tone], 1), 22_050)).sound
    assert isinstance(sound, Sound)
    assert (sound.rate, sound.channels, sound.seconds, sound.clipped) == (22_050, 2, 1.0, 0)
    assert sound.level_db == pytest.approx(-20, abs=0.01)
    assert sound.peak == pytest.approx(0.1 * np.sqrt(2), abs=1e-3)


def test_clipped_peaks_are_runs_at_full_scale() -> None:
    frames = np.zeros((30, 2), np.float32)
    frames[3:6, 0] = 1.0
    frames[10:14, 1] = -1.0
    frames[20:22, 0] = 1.0
    frames[25:27, 1], frames[27:29, 1] = 1.0, -1.0
    assert clipped_samples(frames) == 3 + 4


def test_the_same_audio_in_other_forms_is_found(tmp_path: Path) -> None:
    a, b = speech_like(0), speech_like(1)
    files = [
        written(tmp_path / "a.wav", a),
        written(tmp_path / "again.wav", a),
        written(tmp_path / "a.flac", np.concatenate([np.zeros(80), a])),
        written(tmp_path / "quiet.wav", np.concatenate([1e-4 * speech_like(5)[:300], 0.23 * a])),
        written(tmp_path / "b.wav", b),
        written(tmp_path / "b48.wav", soxr.resample(b, RATE, 48_000), 48_000),
        written(tmp_path / "c.wav", speech_like(2)),
    ]
    (tmp_path / "text.wav").write_text("not audio")
    found = same_audio([*map(examine_file, files), examine_file(tmp_path / "text.wav")])
    assert [(pair.first, pair.second, pair.kind) for pair in found.pairs] == [
        (0, 1, "file"),
        (0, 2, "samples"),
        (0, 3, "copy"),
        (4, 5, "copy"),
    ]
    assert found.group == (0, 0, 0, 0, 4, 4, 6, 7)


def test_other_audio_with_the_same_envelope_is_no_copy(tmp_path: Path) -> None:
    syllables = np.abs(np.sin(np.arange(8000) / 500)) + 0.05
    tones = [0.4 * syllables * np.sin(2 * np.pi * f * np.arange(8000) / RATE) for f in (2000, 3000)]
    files = [examine_file(written(tmp_path / f"{i}.wav", tone)) for i, tone in enumerate(tones)]
    envelopes = [file.sound.envelope for file in files if isinstance(file.sound, Sound)]
    assert envelopes[0] @ envelopes[1] > 0.9995
    assert same_audio(files).pairs == ()


def test_stationary_recordings_are_decoded_once_more_and_copies_twice_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(4)
    tone = 0.2 * np.sin(2 * np.pi * 2000 * np.arange(4 * RATE) / RATE)
    noises = [tone + generator.uniform(-0.2, 0.2, 4 * RATE) for _ in range(20)]
    files = [examine_file(written(tmp_path / f"{i}.wav", noise)) for i, noise in enumerate([*noises, noises[3] / 2])]
    envelopes = np.array([file.sound.envelope for file in files if isinstance(file.sound, Sound)])
    assert (envelopes @ envelopes.T).min() > 0.9995
    decoded = []

    def counted_decode(path: Path, sample_rate: int) -> np.ndarray:
        decoded.append(path.stem)
        return decode(path, sample_rate)

    monkeypatch.setattr(same_audio_module, "decode", counted_decode)
    assert [(pair.first, pair.second, pair.kind) for pair in same_audio(files).pairs] == [(3, 20, "copy")]
    assert sorted(decoded, key=int) == sorted([*map(str, range(21)), "3", "20"], key=int)


def test_a_clean_corpus_is_all_ok(tmp_path: Path) -> None:
    names = {f"{s}{e}": (s, e) for s in "abc" for e in ("angry", "sad")}
    for i, name in enumerate(names):
        written(tmp_path / f"{name}.wav", speech_like(i))
    findings = speech_findings(examine_corpus(corpus_of(names, tmp_path)))
    assert {finding.severity for finding in findings} == {"ok"}
    assert "6 utterances, 3 speakers, 2 classes" in said(findings, "ok")


def test_every_fault_of_a_corpus_is_named(tmp_path: Path) -> None:
    names = {"a": ("ann", "sad"), "a2": ("ann", "angry"), "a3": ("bob", "sad"), "b": ("bob", "angry")}
    names |= {"b2": ("bob", "angry"), "quiet": ("cy", "sad"), "clipped": ("cy", "sad"), "text": ("cy", "sad")}
    a, b = speech_like(0), speech_like(1)
    for name in ("a", "a2", "a3"):
        written(tmp_path / f"{name}.wav", a)
    for name in ("b", "b2"):
        written(tmp_path / f"{name}.wav", b)
    written(tmp_path / "quiet.wav", 5e-4 * speech_like(2))
    written(tmp_path / "clipped.wav", np.clip(9 * speech_like(3, 0.3), -1, 1), 22_050)
    (tmp_path / "text.wav").write_text("not audio")
    examined = examine_corpus(corpus_of(names, tmp_path))
    findings = speech_findings(examined)
    errors, warnings = said(findings, "error"), said(findings, "warning")
    assert "1 of 8 files unusable, commands refuse the corpus" in errors
    assert "1 recording repeated with another label: a = a2 (sad, angry)" in errors
    assert "1 recording repeated with another speaker: a = a3 (ann, bob)" in errors
    assert "1 recording repeated with the same label: b = b2" in warnings
    assert "several sample rates: 16000 Hz (6 files), 22050 Hz (1 file)" in warnings
    assert "1 nearly silent file, below -60 dB: quiet" in warnings
    assert "1 of 8 files with clipped peaks" in warnings
    assert "level tells speakers apart" in said(findings, "note")
    assert examined.corpus.utterances[7].id == "text"


def test_few_faults_are_errors_too_and_say_that_the_files_are_left_out(tmp_path: Path) -> None:
    audio = examine_file(written(tmp_path / "a.wav", speech_like(0)))
    damaged = replace(audio, sound="is damaged")
    names = {f"u{i}": ("ann", "sad") for i in range(40)}
    corpus = replace(
        corpus_of(names, tmp_path),
        expected=ExpectedCounts.by_emotion({"sad": 41}, "the published counts"),
        without_audio=(("lost", "sad"),),
    )
    examined = ExaminedCorpus(corpus, (damaged, *[audio] * 39), SameAudio((), tuple(range(40))))
    assert said(speech_findings(examined), "error").splitlines() == [
        "40 utterances, 1 speaker, 1 class; the counts differ from the published counts: sad: 40 of 41",
        "1 of 40 files unusable, commands leave them out: u0 is damaged",
        "1 labelled file missing, commands leave them out: lost",
    ]


def test_nearly_silent_files_that_are_not_named_are_counted(tmp_path: Path) -> None:
    examined = examine_file(written(tmp_path / "quiet.wav", 5e-4 * speech_like(2)))
    findings = level_findings(["ann"] * 5, [examined] * 5, list("abcde"))
    assert said(findings, "warning") == "5 nearly silent files, below -60 dB: a, b, c and 2 more"


def test_a_difference_of_22_db_is_explained() -> None:
    (finding,) = difference_between({"loud": -20.0, "quiet": -42.0})
    assert finding.severity == "warning"
    assert finding.sentence.startswith("quiet is 22 dB quieter than loud, a factor of 13 in amplitude")
    assert "audio.level=equal" in finding.sentence
    assert [finding.severity for finding in difference_between({"a": -20.0, "b": -22.0})] == ["ok"]


def test_noise_that_is_too_short_or_stands_for_two_scenes(tmp_path: Path) -> None:
    long = speech_like(0, 1.0)
    files = {"park/1": long, "kitchen/1": long, "kitchen/2": speech_like(3), "cafe/1": speech_like(1)}
    recordings = [
        NoiseRecording(name.split("/")[0], written(tmp_path / f"{name}.wav", samples))
        for name, samples in files.items()
    ]
    examined = examine_noise(NoiseCorpus("folder", "Noise", tmp_path, tuple(recordings)))
    findings = noise_findings(examined, ["park", "kitchen", "cafe"], longest=0.8)
    assert "no recording of these scenes is as long: cafe (0.5 s)" in said(findings, "error")
    assert "1 recording in two scenes: park/1.wav = kitchen/1.wav" in said(findings, "warning")
    others = noise_findings(examined, ["park", "station"], longest=0.8)
    assert said(others, "error") == ""
    assert "the settings name station, which the folder does not have" in said(others, "warning")
