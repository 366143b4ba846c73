"""Recording channels of the two speech corpora: room, band, spectral colour, level and noise floor."""

from dataclasses import dataclass

import numpy as np
import scipy

from fastser.data.corpora.synthetic.voice import SAMPLE_RATE, Array


@dataclass(frozen=True, slots=True)
class Channel:
    """A recording set-up.

    Attributes:
        level: Root mean square of neutral speech at 0 dB, in dB of full scale.
        band: Cut-off frequencies of the microphone and recorder in Hz.
        presence: Gain in dB of a broad peak at 3 kHz.
        reverberation: Reverberation time (fall by 60 dB) in seconds.
        reverberant: Level of the reverberation relative to the direct sound in dB.
        noise_floor: Level of the stationary background noise in dB of full scale.
    """

    level: float
    band: tuple[float, float]
    presence: float
    reverberation: float
    reverberant: float
    noise_floor: float


IEMOCAP_CHANNEL = Channel(-33.0, (60.0, 7600.0), 0.0, 0.25, -16.0, -66.0)
MSP_IMPROV_CHANNEL = Channel(-30.0, (120.0, 6500.0), 5.0, 0.45, -11.0, -58.0)

PEAK_LIMIT = 0.95


def record(rng: np.random.Generator, speech: Array, channel: Channel) -> Array:
    """Record speech through a channel.

    Args:
        rng: Generator for the room response and the background noise.
        speech: Waveform [samples]; a root mean square of 1 is 0 dB.
        channel: Recording set-up.

    Returns:
        Waveform [samples] within -`PEAK_LIMIT` to `PEAK_LIMIT`.
    """
    wet = reverberate(rng, speech, channel.reverberation)
    room = speech + wet * 10 ** (channel.reverberant / 20) * np.std(speech) / np.std(wet)
    coloured = _with_presence(room, channel.presence) * 10 ** (channel.level / 20)
    floor = pink_noise(rng, speech.size) * 10 ** (channel.noise_floor / 20)
    recorded = bandpass(coloured + floor, *channel.band)
    return np.asarray(recorded * min(1.0, PEAK_LIMIT / np.max(np.abs(recorded))))


def reverberate(rng: np.random.Generator, waveform: Array, seconds: float) -> Array:
    """Convolve with exponentially decaying noise that falls by 60 dB in `seconds`; the length stays the same."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.standard_normal(time.size) * 10 ** (-3 * time / seconds)
    return np.asarray(scipy.signal.fftconvolve(waveform, response)[: waveform.size])


def bandpass(waveform: Array, low: float, high: float) -> Array:
    """Filter with a second-order Butterworth band-pass from `low` to `high` Hz."""
    sections = scipy.signal.butter(2, (low, high), "bandpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(scipy.signal.sosfilt(sections, waveform))


def pink_noise(rng: np.random.Generator, samples: int) -> Array:
    """Return noise [samples] with a power spectrum of 1/f above 20 Hz and a standard deviation of 1."""
    frequencies = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(samples)) / np.sqrt(np.maximum(frequencies, 20.0))
    noise = np.fft.irfft(spectrum, samples)
    return np.asarray(noise / np.std(noise))


def _with_presence(waveform: Array, gain: float) -> Array:
    octaves = np.log2(np.maximum(np.fft.rfftfreq(waveform.size, 1 / SAMPLE_RATE), 20.0) / 3000.0)
    return np.fft.irfft(np.fft.rfft(waveform) * 10 ** (gain * np.exp(-0.5 * octaves**2) / 20), waveform.size)
