"""Writers of the stand-ins in the folder layout and label format of IEMOCAP, MSP-IMPROV and DEMAND."""

import io
from pathlib import Path

import soundfile

from fastser.data.corpora.base import PAPER_CLASSES
from fastser.data.corpora.files import SYNTHETIC_MARKER
from fastser.data.corpora.synthetic.channel import IEMOCAP_CHANNEL, MSP_IMPROV_CHANNEL, Channel, record
from fastser.data.corpora.synthetic.expression import draw_expression
from fastser.data.corpora.synthetic.phones import IEMOCAP_PHONES, MSP_IMPROV_PHONES, Inventory
from fastser.data.corpora.synthetic.scenes import SCENES, render
from fastser.data.corpora.synthetic.seeds import named_generator
from fastser.data.corpora.synthetic.voice import SAMPLE_RATE, Array, draw_speaker, draw_syllables, synthesise
from fastser.runtime.files import naming_full_disk

NOISE_SECONDS = 30
SYLLABLES = 5

IEMOCAP_CODES = {"angry": ("ang",), "happy": ("hap", "exc"), "neutral": ("neu",), "sad": ("sad",)}
MSP_LETTERS = {"angry": "A", "happy": "H", "neutral": "N", "sad": "S"}
MSP_SCENARIOS = "PTSR"
RATINGS = {"angry": (2.0, 4.0, 4.0), "happy": (4.0, 3.5, 3.0), "neutral": (3.0, 2.5, 3.0), "sad": (2.0, 2.0, 2.0)}
"""Valence, activation and dominance of each emotion in the label files."""


def write_iemocap(root: Path, seed: int, utterances_per_class: int) -> None:
    """Write five sessions of two speakers and two dialogues, with one utterance of no class in each dialogue."""
    _mark(root, "IEMOCAP", seed)
    for session in range(1, 6):
        for dialogue, first in ((f"Ses0{session}F_impro01", 0), (f"Ses0{session}M_script01_1", 1)):
            turns = [
                (letter, emotion, codes[(session + index // 2) % len(codes)])
                for index in range(first, utterances_per_class, 2)
                for emotion, codes in IEMOCAP_CODES.items()
                for letter in "FM"
            ]
            turns.append(("M", "angry", "fru") if first else ("F", "neutral", "xxx"))
            _write_dialogue(root / f"Session{session}", dialogue, turns, seed)


def _write_dialogue(session: Path, dialogue: str, turns: list[tuple[str, str, str]], seed: int) -> None:
    """Write the recordings and the label file of one dialogue; a turn is (letter of the speaker, emotion, code)."""
    wavs, labels = session / "sentences" / "wav" / dialogue, session / "dialog" / "EmoEvaluation"
    wavs.mkdir(parents=True)
    labels.mkdir(parents=True, exist_ok=True)
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    clock = 1.0
    for number, (letter, emotion, code) in enumerate(turns):
        name = f"{dialogue}_{letter}{number // 2:03d}"
        speech = _utterance(seed, "iemocap", dialogue[:5] + letter, name, emotion, IEMOCAP_PHONES, IEMOCAP_CHANNEL)
        _write_wav(wavs / f"{name}.wav", speech)
        end = clock + speech.size / SAMPLE_RATE
        ratings = ", ".join(f"{value:.4f}" for value in RATINGS[emotion])
        lines += [f"[{clock:.4f} - {end:.4f}]\t{name}\t{code}\t[{ratings}]", f"C-E2:\t{emotion.title()};\t()", ""]
        clock = end + 0.5
    _write(labels / f"{dialogue}.txt", "\n".join(lines).encode())


def write_msp_improv(root: Path, seed: int, utterances_per_class: int) -> None:
    """Write six sessions of two speakers, with one utterance of no class by each speaker.

    In natural turns (scenario P) of women, the label differs from the emotion in the name of the file, as it may in the
    real corpus. The name holds the next class in the order of `PAPER_CLASSES`.
    """
    _mark(root, "MSP-IMPROV", seed)
    lines: list[str] = []
    for session in range(1, 7):
        for letter, partner in ("FM", "MF"):
            speaker = f"{letter}0{session}"
            turns = [
                (index, emotion, MSP_LETTERS[emotion])
                for index in range(utterances_per_class)
                for emotion in PAPER_CLASSES
            ]
            turns.append((utterances_per_class, "neutral", "O" if letter == "F" else "X"))
            for number, (index, emotion, label) in enumerate(turns, start=1):
                scenario = MSP_SCENARIOS[index % len(MSP_SCENARIOS)]
                surprise = scenario == "P" and letter == "F"
                intended = MSP_LETTERS[PAPER_CLASSES[(PAPER_CLASSES.index(emotion) + surprise) % len(PAPER_CLASSES)]]
                sentence = f"S{index % 20 + 1:02d}{intended}"
                name = f"IMPROV-{sentence}-{speaker}-{scenario}-{letter}{partner}{number:02d}"
                folder = root / f"session{session}" / sentence / scenario
                folder.mkdir(parents=True, exist_ok=True)
                speech = _utterance(seed, "msp", speaker, name, emotion, MSP_IMPROV_PHONES, MSP_IMPROV_CHANNEL)
                _write_wav(folder / f"MSP-{name}.wav", speech)
                valence, activation, dominance = RATINGS[emotion]
                ratings = f"A:{6 - activation:f}; V:{valence:f}; D:{dominance:f}"
                lines += [
                    f"UTD-{name}.avi; {label}; {ratings} ; N:4.000000;",
                    f"rater1; {emotion.title()}; {emotion.title()}; {ratings}; N:NaN;",
                    "",
                ]
    _write(root / "Evalution.txt", "\n".join(lines).encode())


def write_demand(root: Path, seed: int) -> None:
    """Write channel 1 of the five scenes; each lasts `NOISE_SECONDS`."""
    _mark(root, "DEMAND", seed)
    for folder in SCENES:
        (root / folder).mkdir()
        scene = render(named_generator(seed, "demand", folder), folder, NOISE_SECONDS * SAMPLE_RATE)
        _write_wav(root / folder / "ch01.wav", scene)


def _utterance(
    seed: int, corpus: str, speaker: str, name: str, emotion: str, inventory: Inventory, channel: Channel
) -> Array:
    """Synthesise and record one utterance; the voice depends only on seed, corpus and speaker."""
    gender = speaker.strip("Ses0123456789")
    voice = draw_speaker(named_generator(seed, corpus, speaker), gender)
    rng = named_generator(seed, corpus, name)
    phones = draw_syllables(rng, inventory, SYLLABLES)
    return record(rng, synthesise(rng, voice, draw_expression(rng, emotion), phones), channel)


def _mark(root: Path, corpus: str, seed: int) -> None:
    root.mkdir()
    text = f"Synthetic stand-in for {corpus}, generated by fastser from seed {seed}; no human speech.\n"
    _write(root / SYNTHETIC_MARKER, text.encode())


def _write_wav(path: Path, waveform: Array) -> None:
    stream = io.BytesIO()  # the sound library does not tell why it cannot write a file
    soundfile.write(stream, waveform, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    _write(path, stream.getvalue())


def _write(path: Path, content: bytes) -> None:
    with naming_full_disk(path):
        path.write_bytes(content)
