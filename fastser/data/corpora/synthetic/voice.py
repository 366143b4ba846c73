"""Source-filter speech synthesiser: glottal pulses and turbulence noise through a time-varying formant cascade.

The source are KLGLOTT88 pulses (Klatt & Klatt 1990) with jitter, shimmer, spectral tilt and aspiration. The filter is a
cascade of digital resonators (Klatt 1980), applied frame by frame with overlap-add. Four resonators move with the
phones, three are fixed.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from fastser.data.corpora.synthetic.expression import Expression
from fastser.data.corpora.synthetic.phones import CONSONANTS, VOWELS, Inventory, Phone

Array = NDArray[np.float64]

SAMPLE_RATE = 16_000
HOP = 160
"""Samples from one frame of the vocal-tract filter to the next (10 ms)."""

N_FFT = 800
"""FFT length: a frame of two hops and 30 ms for the decay of the formants; a multiple of `HOP`."""

FREQUENCIES = np.fft.rfftfreq(N_FFT, 1 / SAMPLE_RATE)
NEUTRAL_TRACT = np.array([500.0, 1500.0, 2500.0, 3500.0])
BANDWIDTHS = np.array([70.0, 90.0, 140.0, 220.0])
FIXED_FORMANTS = np.array([4500.0, 5500.0, 6500.0])
FIXED_BANDWIDTHS = np.array([300.0, 400.0, 500.0])


@dataclass(frozen=True, slots=True)
class Speaker:
    """The voice of a speaker.

    Attributes:
        f0: Mean fundamental frequency of neutral speech in Hz.
        formant_scale: Formant frequencies relative to those of an average man.
        level: Habitual sound level in dB.
        tilt: Habitual spectral tilt in dB per octave, added to that of the expression.
        rate: Habitual speaking rate.
    """

    f0: float
    formant_scale: float
    level: float
    tilt: float
    rate: float


def draw_speaker(rng: np.random.Generator, gender: str) -> Speaker:
    """Draw a speaker: a man ("M") around 110 Hz, or a woman ("F") around 200 Hz with 16 % higher formants."""
    f0, formant_scale = {"M": (110.0, 1.0), "F": (200.0, 1.16)}[gender]
    return Speaker(
        f0=f0 * 2 ** (rng.normal(0.0, 1.8) / 12),
        formant_scale=formant_scale * np.exp(rng.normal(0.0, 0.03)),
        level=rng.normal(0.0, 1.2),
        tilt=rng.normal(0.0, 0.7),
        rate=np.exp(rng.normal(0.0, 0.05)),
    )


def draw_syllables(rng: np.random.Generator, inventory: Inventory, count: int) -> list[Phone]:
    """Draw `count` syllables of onset, vowel and, with probability 1/3, coda; the last vowel is lengthened."""
    phones: list[Phone] = []
    for index in range(count):
        vowel = VOWELS[rng.choice(inventory.vowels)]
        final = index == count - 1
        phones += CONSONANTS[rng.choice(inventory.onsets)]
        phones.append(vowel._replace(seconds=vowel.seconds * (1.3 if final else 1.0)))
        if rng.random() < 1 / 3:
            phones += CONSONANTS[rng.choice(inventory.codas)]
    return phones


def synthesise(rng: np.random.Generator, speaker: Speaker, expression: Expression, phones: list[Phone]) -> Array:
    """Synthesise `phones`.

    Args:
        rng: Generator for every random choice.
        speaker: Voice of the speaker.
        expression: Vocal expression of the utterance.
        phones: Phones in the order of speech.

    Returns:
        Waveform [samples] at `SAMPLE_RATE` with margins of 40 to 80 ms. Its level over the speech is the sum of the
        levels of speaker and expression, where 0 dB is a root mean square of 1.
    """
    rate = speaker.rate * expression.rate
    frames = np.maximum(1, np.rint([p.seconds * SAMPLE_RATE / HOP / rate for p in phones])).astype(int)
    before, after = rng.integers(4, 9, size=2)
    silence = Phone(phones[0].formants, 0.0, voicing=0.0)
    track = [silence, *phones, silence]
    lengths = np.array([before, *frames, after])

    voicing = _to_samples(_smooth(np.repeat([p.voicing for p in track], lengths), 3))
    frication = _to_samples(np.repeat([p.frication for p in track], lengths).astype(float))
    formants = _formant_track(np.repeat([p.formants for p in track], lengths, axis=0), speaker, expression)
    bands = np.repeat([p.band for p in track], lengths, axis=0)

    f0 = _to_samples(speaker.f0 * 2 ** (_pitch_contour(rng, expression, len(formants)) / 12))
    pulses = _tilted(glottal_pulses(rng, f0, expression), speaker.tilt + expression.tilt)
    pulses /= np.std(pulses)
    voiced = voicing * (pulses + expression.breathiness * rng.standard_normal(pulses.size))
    hiss = frication * rng.standard_normal(pulses.size)
    fixed = _resonators(speaker.formant_scale * FIXED_FORMANTS, FIXED_BANDWIDTHS)
    moving = _resonators(formants, BANDWIDTHS * speaker.formant_scale)
    turbulence = np.exp(-0.5 * ((FREQUENCIES - bands[:, :1]) / bands[:, 1:]) ** 2)
    speech = _overlap_add(_spectra(voiced) * moving * fixed)
    speech /= np.sqrt(np.mean(speech[before * HOP : -after * HOP] ** 2))
    speech += _overlap_add(_spectra(hiss) * turbulence)
    return np.asarray(speech * 10 ** ((speaker.level + expression.level) / 20))


def glottal_pulses(rng: np.random.Generator, f0: Array, expression: Expression) -> Array:
    """Return the derivative of the glottal flow [samples] for the fundamental frequency `f0` [samples] in Hz.

    The glottis closes where the phase wraps. A two-sample polynomial (PolyBLEP) limits the bandwidth of that step.
    """
    step = f0 / SAMPLE_RATE
    perturbation = rng.standard_normal((2, int(step.sum()) + 2))
    cycle = np.cumsum(step).astype(int)
    step = step * (1.0 + expression.roughness / 5 * np.clip(perturbation[0, cycle], -3, 3))
    phase = np.cumsum(step) % 1.0
    opening = np.maximum(0.0, 1.0 - (1.0 - phase) / expression.open_quotient)
    derivative = 2.0 * opening - 3.0 * opening**2
    after, before = phase / step, (1.0 - phase) / step
    derivative += np.where(after < 1, -0.5 * (1 - after) ** 2, 0.0) + np.where(before < 1, 0.5 * (1 - before) ** 2, 0.0)
    return np.asarray(derivative * (1.0 + expression.roughness * perturbation[1, cycle]))


def _pitch_contour(rng: np.random.Generator, expression: Expression, frames: int) -> Array:
    """Return semitones [frames] above the mean F0: level, slope, two accents at random places, and a slow drift."""
    time = np.linspace(0.0, 1.0, frames)
    places, sizes = np.array([0.3, 0.7]) + rng.uniform(-0.12, 0.12, 2), rng.uniform(0.6, 1.2, 2)
    accents = (sizes * np.exp(-0.5 * ((time[:, None] - places) / 0.1) ** 2)).sum(1)
    accents -= accents.mean()
    drift = 0.3 * np.sin(2 * np.pi * (rng.uniform(2, 5) * time + rng.random()))
    return np.asarray(
        expression.pitch + expression.pitch_slope * (time - 0.5) + expression.pitch_range * accents + drift
    )


def _formant_track(targets: Array, speaker: Speaker, expression: Expression) -> Array:
    """Return formants [frames, 4] in Hz: scaled targets, smoothed over 50 ms (coarticulation)."""
    tract = NEUTRAL_TRACT + expression.articulation * (targets - NEUTRAL_TRACT)
    tract *= speaker.formant_scale * expression.formant_scale
    tract[:, 0] *= expression.first_formant_scale
    return _smooth(tract, 5)


def _smooth(track: Array, frames: int) -> Array:
    return np.asarray(scipy.ndimage.uniform_filter1d(track, frames, axis=0, mode="nearest"))


def _to_samples(track: Array) -> Array:
    """Interpolate a track of frames linearly to samples."""
    return np.interp(np.arange(len(track) * HOP) / HOP - 0.5, np.arange(len(track)), track)


def _tilted(waveform: Array, db_per_octave: float) -> Array:
    """Lower the spectrum by `db_per_octave` above 200 Hz."""
    octaves = np.log2(np.maximum(np.fft.rfftfreq(waveform.size, 1 / SAMPLE_RATE), 200.0) / 200.0)
    return np.fft.irfft(np.fft.rfft(waveform) * 10 ** (-db_per_octave * octaves / 20), waveform.size)


def _resonators(formants: Array, bandwidths: Array) -> NDArray[np.complex128]:
    """Return the response [..., bins] of cascaded resonators of formants [..., n] and bandwidths [n], 1 at 0 Hz."""
    delay = np.exp(-2j * np.pi * FREQUENCIES / SAMPLE_RATE)
    inverse = np.ones((*formants.shape[:-1], FREQUENCIES.size), dtype=np.complex128)
    for index, bandwidth in enumerate(bandwidths):
        radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
        a1 = 2 * radius * np.cos(2 * np.pi * formants[..., index, None] / SAMPLE_RATE)
        gain = 1 - a1 + radius**2
        inverse *= (1 + radius**2 * delay**2) / gain - a1 / gain * delay
    return np.asarray(1 / inverse, dtype=np.complex128)


def _spectra(waveform: Array) -> NDArray[np.complex128]:
    """Return spectra [frames, bins] of Hann-windowed frames of two hops, the first centred at half a hop."""
    padded = np.pad(waveform, HOP // 2)
    framed = np.lib.stride_tricks.sliding_window_view(padded, 2 * HOP)[::HOP]
    window = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * HOP) / HOP)
    return np.fft.rfft(framed * window, N_FFT)


def _overlap_add(spectra: NDArray[np.complex128]) -> Array:
    """Invert `_spectra` after filtering; returns [frames * HOP]."""
    frames = np.fft.irfft(spectra, N_FFT).reshape(len(spectra), -1, HOP)
    total = np.zeros((len(spectra) + frames.shape[1], HOP))
    for part in range(frames.shape[1]):
        total[part : part + len(spectra)] += frames[:, part]
    return total.ravel()[HOP // 2 : HOP // 2 + len(spectra) * HOP]
