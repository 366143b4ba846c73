"""Vocal expression of the four emotions: shifts of pitch, rate, level and voice quality, and their spread.

The directions of the shifts follow Murray & Arnott (1993), Juslin & Laukka (2003) and Scherer (2003). Their sizes are
not from the literature: they make the classes overlap.
"""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True)
class Expression:
    """Vocal expression of one utterance, relative to the neutral voice of the speaker.

    Attributes:
        pitch: Mean F0 in semitones.
        pitch_range: Size of the pitch accents in semitones.
        pitch_slope: Rise of F0 from start to end in semitones.
        rate: Speaking rate; 1 gives the durations of the phone inventory.
        level: Sound level in dB.
        tilt: Additional spectral tilt of the glottal source in dB per octave (positive: fewer high frequencies).
        breathiness: Amplitude of the aspiration noise relative to the glottal pulses.
        open_quotient: Share of a glottal cycle in which the glottis is open.
        roughness: Shimmer, the relative standard deviation of cycle amplitudes; the jitter is a fifth of it.
        articulation: Factor on the distance of the formants from those of a neutral tract.
        formant_scale: Factor on all formants (smiling shortens the tract).
        first_formant_scale: Factor on F1 (vocal effort opens the jaw).
    """

    pitch: float
    pitch_range: float
    pitch_slope: float
    rate: float
    level: float
    tilt: float
    breathiness: float
    open_quotient: float
    roughness: float
    articulation: float
    formant_scale: float
    first_formant_scale: float


TYPICAL = {
    "angry": Expression(4.0, 4.5, -2.5, 1.12, 8.0, 0.5, 0.02, 0.45, 0.15, 1.10, 1.00, 1.15),
    "happy": Expression(7.5, 7.5, 5.0, 1.06, 4.0, 3.0, 0.08, 0.60, 0.04, 1.05, 1.09, 0.97),
    "neutral": Expression(0.0, 2.5, -1.5, 1.00, 0.0, 4.5, 0.06, 0.60, 0.05, 1.00, 1.00, 1.00),
    "sad": Expression(-2.0, 1.0, -3.0, 0.87, -6.5, 8.0, 0.22, 0.75, 0.08, 0.80, 0.99, 0.97),
}
"""Mean expression of each of the four emotions."""


def draw_expression(rng: np.random.Generator, emotion: str) -> Expression:
    """Draw the expression of one utterance: a random intensity between neutral and typical, then random variation."""
    typical, neutral = TYPICAL[emotion], TYPICAL["neutral"]
    intensity = rng.uniform(0.85, 1.25)
    mixed = {
        name: getattr(neutral, name) + intensity * (getattr(typical, name) - getattr(neutral, name))
        for name in Expression.__slots__
    }
    expression = Expression(**mixed)
    return replace(
        expression,
        pitch=expression.pitch + rng.normal(0.0, 1.0),
        pitch_range=expression.pitch_range * np.exp(rng.normal(0.0, 0.25)),
        pitch_slope=expression.pitch_slope + rng.normal(0.0, 1.5),
        rate=expression.rate * np.exp(rng.normal(0.0, 0.06)),
        level=expression.level + rng.normal(0.0, 1.2),
        tilt=expression.tilt + rng.normal(0.0, 0.7),
        breathiness=max(expression.breathiness, 0.01) * np.exp(rng.normal(0.0, 0.3)),
    )
