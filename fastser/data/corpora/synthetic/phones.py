"""Phones of the synthesiser, and the phone inventory of each corpus.

The vowel formants are the rounded averages of men in Peterson & Barney (1952). The consonants are coarse values in the
manner of Klatt (1980). A plosive consists of two phones, a closure and a burst.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Phone(NamedTuple):
    """Acoustic target of one phone.

    Attributes:
        formants: F1 to F4 in Hz for the vocal tract of a man.
        seconds: Duration at a speaking rate of 1.
        voicing: Amplitude of the glottal source; 1 in a vowel.
        frication: Amplitude of the turbulence noise.
        band: Centre and standard deviation of the turbulence noise's spectrum in Hz.
    """

    formants: tuple[float, float, float, float]
    seconds: float
    voicing: float = 1.0
    frication: float = 0.0
    band: tuple[float, float] = (4000.0, 1000.0)


def _vowel(f1: float, f2: float, f3: float, seconds: float = 0.11) -> Phone:
    return Phone((f1, f2, f3, 3500.0), seconds)


def _sonorant(f1: float, f2: float, f3: float, voicing: float) -> Phone:
    return Phone((f1, f2, f3, 3500.0), 0.06, voicing)


def _fricative(voicing: float, frication: float, centre: float, width: float) -> Phone:
    return Phone((320.0, 1500.0, 2500.0, 3500.0), 0.075, voicing, frication, (centre, width))


def _plosive(f2: float, voicing: float, centre: float, width: float) -> tuple[Phone, Phone]:
    formants = (250.0, f2, 2500.0, 3500.0)
    return Phone(formants, 0.045, voicing), Phone(formants, 0.02, voicing, 0.5, (centre, width))


CONSONANTS: dict[str, tuple[Phone, ...]] = {
    "m": (_sonorant(270, 1100, 2200, 0.35),),
    "n": (_sonorant(270, 1600, 2600, 0.35),),
    "l": (_sonorant(340, 1050, 2800, 0.6),),
    "r": (_sonorant(330, 1100, 1500, 0.6),),
    "w": (_sonorant(290, 650, 2200, 0.5),),
    "j": (_sonorant(270, 2100, 2900, 0.5),),
    "s": (_fricative(0.0, 0.30, 6000, 1200),),
    "sh": (_fricative(0.0, 0.30, 3200, 900),),
    "f": (_fricative(0.0, 0.08, 5000, 3000),),
    "h": (_fricative(0.0, 0.12, 1500, 900),),
    "z": (_fricative(0.3, 0.15, 6000, 1200),),
    "v": (_fricative(0.4, 0.04, 5000, 3000),),
    "p": _plosive(900, 0.0, 900, 600),
    "t": _plosive(1700, 0.0, 4200, 1200),
    "k": _plosive(1900, 0.0, 2000, 600),
    "b": _plosive(900, 0.12, 800, 500),
    "d": _plosive(1700, 0.12, 3600, 1200),
    "g": _plosive(1900, 0.12, 1900, 600),
}

VOWELS: dict[str, Phone] = {
    "iy": _vowel(270, 2290, 3010),
    "ih": _vowel(390, 1990, 2550),
    "eh": _vowel(530, 1840, 2480),
    "ae": _vowel(660, 1720, 2410, 0.125),
    "ah": _vowel(640, 1190, 2390),
    "aa": _vowel(730, 1090, 2440, 0.125),
    "ao": _vowel(570, 840, 2410, 0.125),
    "uh": _vowel(440, 1020, 2240),
    "uw": _vowel(300, 870, 2240),
    "er": _vowel(490, 1350, 1690),
}


@dataclass(frozen=True, slots=True)
class Inventory:
    """Phones of one corpus: keys of `CONSONANTS` (onsets, codas) and of `VOWELS`."""

    onsets: tuple[str, ...]
    vowels: tuple[str, ...]
    codas: tuple[str, ...]


IEMOCAP_PHONES = Inventory(
    onsets=("m", "n", "l", "w", "s", "h", "t", "k", "b", "d"),
    vowels=("iy", "ih", "eh", "ae", "ah", "aa", "uw"),
    codas=("n", "s", "t", "l"),
)

MSP_IMPROV_PHONES = Inventory(
    onsets=("m", "r", "j", "w", "sh", "f", "z", "v", "p", "g", "d"),
    vowels=("iy", "eh", "aa", "ao", "uh", "uw", "er"),
    codas=("m", "n", "z", "k"),
)
