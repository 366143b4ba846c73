"""Comparison of an ONNX file in onnxruntime with the recogniser of the same model, on synthetic speech."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastser.data.corpora.synthetic.channel import IEMOCAP_CHANNEL, record
from fastser.data.corpora.synthetic.expression import TYPICAL, draw_expression
from fastser.data.corpora.synthetic.phones import IEMOCAP_PHONES
from fastser.data.corpora.synthetic.voice import draw_speaker, draw_syllables, synthesise
from fastser.recognition.recogniser import Recogniser
from fastser.settings import SpectrogramSettings

INPUT, OUTPUT = "waveform", "posteriors"
"""Names of the input and the output of an ONNX file."""

_SYLLABLES = 12
"""Syllables of an utterance, about 3 s of speech at 16 kHz. It is repeated where more is needed."""


@dataclass(frozen=True)
class Agreement:
    """Comparison of an ONNX file with a recogniser.

    Attributes:
        largest: Largest absolute difference of a posterior. NaN if a posterior is NaN.
        waveforms: Number of compared waveforms.
        runtime: Version of onnxruntime.
    """

    largest: float
    waveforms: int
    runtime: str


def agreement(file: Path, recogniser: Recogniser, settings: SpectrogramSettings) -> Agreement:
    """Run a file in onnxruntime on a CPU beside its recogniser, with batches of different sizes and lengths.

    Args:
        file: ONNX file.
        recogniser: Recogniser of the same model.
        settings: Spectrogram settings of the model.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    differences: list[float] = []
    for batch in _batches(settings):
        (found,) = session.run([OUTPUT], {INPUT: batch})
        for posteriors, waveform in zip(found, batch, strict=True):
            (record,) = recogniser.predict(waveform, recogniser.sample_rate)
            expected = [record[f"p_{name}"] for name in recogniser.classes]
            differences.append(float(np.abs(posteriors - np.array(expected)).max()))
    return Agreement(float(np.max(differences)), len(differences), onnxruntime.__version__)


def _batches(settings: SpectrogramSettings) -> Iterator[NDArray[np.float32]]:
    """Yield batches [batch, samples] that are shorter than a window and a segment, just as long, and longer.

    One voice is so quiet that its spectrogram lies on the power floor.
    """
    window, hop, frames = settings.win_length, settings.hop_length, settings.segment_frames
    segment = (frames - 1) * hop + window
    speech = [gain * _speech(emotion) for gain, emotion in zip((1, 1, 1, 1e-4), TYPICAL, strict=True)]
    for samples in (window // 2 + 1, segment // 2, segment, segment + hop, 2 * segment + settings.segment_hop * hop):
        voices = np.stack([np.resize(voice, samples) for voice in speech])
        yield voices[:1]
        yield voices[1:]


def _speech(emotion: str) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    phones = draw_syllables(rng, IEMOCAP_PHONES, _SYLLABLES)
    speech = synthesise(rng, draw_speaker(rng, "F"), draw_expression(rng, emotion), phones)
    return record(rng, speech, IEMOCAP_CHANNEL).astype(np.float32)
