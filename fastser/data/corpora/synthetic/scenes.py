"""Five noise scenes, built from their typical sound sources: water, wind, trains, engines, voices."""

from collections.abc import Callable

import numpy as np

from fastser.data.corpora.synthetic.channel import bandpass, pink_noise, reverberate
from fastser.data.corpora.synthetic.expression import draw_expression
from fastser.data.corpora.synthetic.phones import IEMOCAP_PHONES, MSP_IMPROV_PHONES
from fastser.data.corpora.synthetic.voice import SAMPLE_RATE, Array, draw_speaker, draw_syllables, synthesise

LEVEL = 10 ** (-28 / 20)
"""Root mean square of every scene before peak limiting (-28 dB of full scale)."""


def kitchen(rng: np.random.Generator, samples: int) -> Array:
    """Return mains hum, running water and clattering crockery, [samples]."""
    time = _time(samples)
    hum = sum(np.sin(2 * np.pi * 50 * k * time) / k for k in (1, 2, 3, 5))
    water = bandpass(rng.standard_normal(samples), 1200, 6000) * (1 + 0.5 * _slow(rng, samples, 0.5))
    return 0.15 * hum + 0.6 * water + _clatter(rng, samples, per_second=3.0)


def park(rng: np.random.Generator, samples: int) -> Array:
    """Return gusts of wind, leaves that rustle with them, and birds, [samples]."""
    gust = np.exp(0.8 * _slow(rng, samples, 0.4))
    wind = bandpass(rng.standard_normal(samples), 25, 180) * gust
    leaves = bandpass(rng.standard_normal(samples), 2000, 7000) * gust
    scene = 4.0 * wind + 0.25 * leaves
    for start in rng.integers(0, samples, samples // (SAMPLE_RATE // 2)):
        _add(scene, 0.6 * rng.uniform(0.2, 1.0) * _bird(rng), int(start))
    return scene


def station(rng: np.random.Generator, samples: int) -> Array:
    """Return a reverberant hall with people, chimes and announcements, and passing trains, [samples]."""
    hall = 0.2 * _babble(rng, samples, per_second=6.0)
    for start in range(int(rng.integers(2 * SAMPLE_RATE)), samples, 9 * SAMPLE_RATE):
        announcement = np.concatenate([_chime(rng), *(2.0 * _talk(rng) for _ in range(3))])
        _add(hall, bandpass(announcement, 400, 3400), start)
    echoing = reverberate(rng, hall, 2.0)
    rumble = bandpass(rng.standard_normal(samples), 30, 120)
    trains = sum(_train(rng, samples, samples * place) for place in rng.uniform(0.0, 1.0, 2))
    return echoing / np.std(echoing) + 2.0 * rumble + trains


def traffic(rng: np.random.Generator, samples: int) -> Array:
    """Return passing vehicles (engine harmonics and tyre noise) over the noise of a distant road, [samples]."""
    scene = 0.5 * pink_noise(rng, samples)
    for _ in range(max(3, samples // (3 * SAMPLE_RATE))):
        scene += _vehicle(rng, samples)
    return scene


def cafeteria(rng: np.random.Generator, samples: int) -> Array:
    """Return many simultaneous voices and crockery in a reverberant room, [samples]."""
    room = _babble(rng, samples, per_second=14.0) + 0.5 * _clatter(rng, samples, per_second=1.5)
    echo = reverberate(rng, room, 0.7)
    return room / np.std(room) + 0.7 * echo / np.std(echo) + 0.05 * pink_noise(rng, samples)


SCENES: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "DKITCHEN": kitchen,
    "NPARK": park,
    "PSTATION": station,
    "STRAFFIC": traffic,
    "PCAFETER": cafeteria,
}
"""Generator of each scene at `SAMPLE_RATE`, by the name of its folder in DEMAND."""


def render(rng: np.random.Generator, folder: str, samples: int) -> Array:
    """Generate the scene of a DEMAND folder at `LEVEL` and limit its peaks below full scale.

    Args:
        rng: Generator for every random choice.
        folder: A key of `SCENES`.
        samples: Length of the recording.

    Returns:
        Waveform [samples] within -1 to 1.
    """
    scene = SCENES[folder](rng, samples)
    return np.asarray(np.tanh(scene * (LEVEL / np.std(scene))))


def _time(samples: int) -> Array:
    return np.arange(samples) / SAMPLE_RATE


def _slow(rng: np.random.Generator, samples: int, hertz: float) -> Array:
    """Return a random curve of mean 0 and standard deviation of about 1 that changes `hertz` times a second."""
    knots = rng.standard_normal(int(samples / SAMPLE_RATE * hertz) + 3)
    return np.interp(np.arange(samples) * hertz / SAMPLE_RATE, np.arange(knots.size), knots)


def _add(scene: Array, event: Array, start: int) -> None:
    """Add `event` to the scene from sample `start`, cut at the end of the scene."""
    scene[start : start + event.size] += event[: scene.size - start]


def _clatter(rng: np.random.Generator, samples: int, per_second: float) -> Array:
    """Return impacts of crockery; each consists of five damped modes between 700 Hz and 6 kHz."""
    scene, time = np.zeros(samples), _time(SAMPLE_RATE // 3)
    for start in rng.integers(0, samples, int(per_second * samples / SAMPLE_RATE)):
        modes, decays = rng.uniform(700, 6000, (5, 1)), rng.uniform(0.01, 0.07, (5, 1))
        strengths = rng.exponential(1.0, (5, 1))
        ring = (strengths * np.sin(2 * np.pi * modes * time) * np.exp(-time / decays)).sum(0)
        _add(scene, rng.exponential(1.0) * ring, int(start))
    return scene


def _bird(rng: np.random.Generator) -> Array:
    """Return a bird call of three to eight chirps that glide between 2.2 and 5 kHz."""
    length, count = int(rng.uniform(0.06, 0.14) * SAMPLE_RATE), int(rng.integers(3, 9))
    first, last = rng.uniform(2200, 5000, 2)
    glide = np.linspace(first, last, length)
    chirp = np.sin(2 * np.pi * np.cumsum(glide) / SAMPLE_RATE) * np.hanning(length)
    return np.tile(np.concatenate([chirp, np.zeros(length // 2)]), count)


def _talk(rng: np.random.Generator) -> Array:
    """Return six syllables of a new speaker, neutral or happy."""
    speaker = draw_speaker(rng, "FM"[rng.integers(2)])
    expression = draw_expression(rng, ("neutral", "happy")[rng.integers(2)])
    inventory = (IEMOCAP_PHONES, MSP_IMPROV_PHONES)[rng.integers(2)]
    return synthesise(rng, speaker, expression, draw_syllables(rng, inventory, 6))


def _babble(rng: np.random.Generator, samples: int, per_second: float) -> Array:
    """Return sixteen voices that repeat at random times and levels, `per_second` times a second in total."""
    voices = [_talk(rng) for _ in range(16)]
    scene = np.zeros(samples + SAMPLE_RATE)
    for start in rng.integers(0, samples, int(per_second * samples / SAMPLE_RATE)):
        _add(scene, np.exp(rng.normal(0.0, 0.5)) * voices[rng.integers(len(voices))], int(start))
    return np.roll(scene, -SAMPLE_RATE)[:samples]


def _chime(rng: np.random.Generator) -> Array:
    """Return the three falling tones before an announcement."""
    time = _time(SAMPLE_RATE // 2)
    root = rng.uniform(500, 700)
    return np.concatenate([3 * np.sin(2 * np.pi * root * r * time) * np.exp(-time / 0.25) for r in (1.5, 1.25, 1.0)])


def _train(rng: np.random.Generator, samples: int, centre: float) -> Array:
    """Return a train that passes at sample `centre`: roar, wheels on rail joints, and squealing brakes."""
    time = _time(samples) - centre / SAMPLE_RATE
    near = 1 / (1 + (time / 2.5) ** 2)
    roar = bandpass(rng.standard_normal(samples), 80, 900)
    joints = np.maximum(0.0, np.sin(2 * np.pi * 1.8 * time)) ** 30 * bandpass(rng.standard_normal(samples), 200, 2500)
    squeal = np.sin(2 * np.pi * rng.uniform(2200, 3200) * time) * np.maximum(0.0, _slow(rng, samples, 2.0))
    return np.asarray(near * (3.0 * roar + 2.0 * joints + 0.1 * squeal))


def _vehicle(rng: np.random.Generator, samples: int) -> Array:
    """Return one passing vehicle: tyres, and engine harmonics whose pitch falls with the Doppler shift."""
    time = _time(samples) - rng.uniform(0.0, samples / SAMPLE_RATE)
    seconds = rng.uniform(0.8, 2.0)
    near = 1 / (1 + (time / seconds) ** 2)
    firing = (
        rng.uniform(35, 95) * (1 - 0.04 * time / np.sqrt(time**2 + seconds**2)) * (1 + 0.02 * _slow(rng, samples, 1))
    )
    phase = 2 * np.pi * np.cumsum(firing) / SAMPLE_RATE
    strengths = rng.uniform(0.4, 1.0, 12) / np.arange(1, 13) ** 0.7
    engine = sum(strength * np.sin(k * phase) for k, strength in enumerate(strengths, start=1))
    tyres = bandpass(rng.standard_normal(samples), 500, 1600)
    return np.asarray(rng.uniform(0.5, 1.5) * near * (engine + 2.0 * tyres))
