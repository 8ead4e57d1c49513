"""The sounds of the synthetic language: formant targets, sources and durations.

Formants are those of an adult male tract of 17.5 cm (Peterson and Barney, JASA 1952, for the
vowels; loci of consonants after Klatt, JASA 1980); a speaker's voice scales them.
"""

from dataclasses import dataclass

NEUTRAL = (500.0, 1500.0, 2500.0)
NO_NASAL_ZERO_HZ = 270.0  # where the nasal zero is on the nasal pole and both cancel


@dataclass(frozen=True)
class Segment:
    """One steady target of the synthesiser.

    Parameters
    ----------
    seconds : float
        Duration at a normal rate of speaking.
    formants : (float, float, float)
        F1 to F3 in Hz.
    voicing, aspiration, frication : float
        Amplitudes of the three sources, 0 to 1.
    noise_peak_hz, noise_width_hz : float
        Centre and width of the frication noise.
    nasal_zero_hz : float
        Zero of the nasal branch; `NO_NASAL_ZERO_HZ` switches it off.
    elastic : float
        How much of a change of rate the segment takes, 0 to 1.
    vowel : str
        Name of the vowel for a speaker's own vowel space, or empty.
    """

    seconds: float
    formants: tuple[float, float, float] = NEUTRAL
    voicing: float = 0.0
    aspiration: float = 0.0
    frication: float = 0.0
    noise_peak_hz: float = 4000.0
    noise_width_hz: float = 2000.0
    nasal_zero_hz: float = NO_NASAL_ZERO_HZ
    elastic: float = 1.0
    vowel: str = ""


VOWELS: dict[str, tuple[float, float, float]] = {
    "iy": (270, 2290, 3010),
    "ih": (390, 1990, 2550),
    "ey": (430, 2120, 2650),
    "eh": (530, 1840, 2480),
    "ae": (660, 1720, 2410),
    "ah": (640, 1190, 2390),
    "aa": (730, 1090, 2440),
    "ao": (570, 840, 2410),
    "ow": (460, 910, 2350),
    "uh": (440, 1020, 2240),
    "uw": (300, 870, 2240),
    "er": (490, 1350, 1690),
    "ax": (500, 1400, 2450),
}
DIPHTHONGS: dict[str, tuple[str, str]] = {
    "ay": ("aa", "iy"),
    "aw": ("aa", "uw"),
    "oy": ("ao", "iy"),
    "ei": ("eh", "iy"),
    "ou": ("ah", "uw"),
}
# name: formants, voicing, nasal zero, seconds
_SONORANTS: dict[str, tuple[tuple[float, float, float], float, float, float]] = {
    "w": ((290, 610, 2150), 0.6, NO_NASAL_ZERO_HZ, 0.065),
    "y": ((260, 2070, 3020), 0.6, NO_NASAL_ZERO_HZ, 0.060),
    "r": ((310, 1060, 1380), 0.6, NO_NASAL_ZERO_HZ, 0.065),
    "l": ((310, 1050, 2880), 0.55, NO_NASAL_ZERO_HZ, 0.065),
    "m": ((280, 1100, 2200), 0.55, 1000.0, 0.075),
    "n": ((280, 1500, 2500), 0.55, 1500.0, 0.070),
    "ng": ((280, 1900, 2600), 0.5, 2600.0, 0.075),
}
# name: formant loci, noise peak, noise width, frication, voicing, seconds
_FRICATIVES: dict[str, tuple[tuple[float, float, float], float, float, float, float, float]] = {
    "s": ((320, 1390, 2530), 5800, 1900, 0.75, 0.0, 0.110),
    "sh": ((300, 1840, 2750), 3300, 1300, 0.75, 0.0, 0.110),
    "f": ((340, 1100, 2080), 5000, 6000, 0.22, 0.0, 0.095),
    "th": ((320, 1290, 2540), 6200, 5000, 0.18, 0.0, 0.090),
    "z": ((240, 1390, 2530), 5600, 1900, 0.40, 0.35, 0.080),
    "v": ((220, 1100, 2080), 4800, 6000, 0.12, 0.45, 0.065),
    "zh": ((240, 1840, 2750), 3200, 1400, 0.40, 0.35, 0.080),
    "dh": ((270, 1290, 2540), 6000, 5000, 0.10, 0.45, 0.050),
}
# name: formant loci, burst peak, burst width, voiced
_STOPS: dict[str, tuple[tuple[float, float, float], float, float, bool]] = {
    "p": ((250, 900, 2150), 1200, 3000, False),
    "t": ((250, 1750, 2700), 4500, 2500, False),
    "k": ((250, 1900, 2300), 2000, 1200, False),
    "b": ((250, 900, 2150), 1000, 3000, True),
    "d": ((250, 1750, 2700), 4200, 2500, True),
    "g": ((250, 1900, 2300), 1900, 1200, True),
}

ONSETS = (*_STOPS, *_FRICATIVES, *_SONORANTS, "hh", "ch", "jh")
CODAS = ("n", "m", "ng", "l", "r", "s", "z", "t", "d", "k", "p", "f", "v", "sh", "th")
NUCLEI = (*VOWELS, *DIPHTHONGS)
CLUSTERS = (("s", "t"), ("s", "p"), ("t", "r"), ("p", "l"), ("k", "r"), ("f", "r"), ("g", "l"))


def pause(seconds: float) -> list[Segment]:
    """Return silence of a given length."""
    return [Segment(seconds, elastic=0.3)]


def vowel(name: str, *, seconds: float, strength: float) -> list[Segment]:
    """Return the one or two targets of a vowel or diphthong, voiced with amplitude `strength`."""
    parts = DIPHTHONGS.get(name, (name,))
    return [
        Segment(seconds / len(parts), VOWELS[part], voicing=strength, vowel=part) for part in parts
    ]


def consonant(name: str) -> list[Segment]:
    """Return the targets of a consonant: closure, burst and aspiration for a stop."""
    if name in _SONORANTS:
        formants, voicing, zero, seconds = _SONORANTS[name]
        return [Segment(seconds, formants, voicing=voicing, nasal_zero_hz=zero)]
    if name in _FRICATIVES:
        formants, peak, width, frication, voicing, seconds = _FRICATIVES[name]
        return [Segment(seconds, formants, voicing, 0.0, frication, peak, width)]
    if name == "hh":
        return [Segment(0.06, NEUTRAL, aspiration=0.35)]
    if name in ("ch", "jh"):
        return _stop("t" if name == "ch" else "d")[:2] + consonant("sh" if name == "ch" else "zh")
    return _stop(name)


def _stop(name: str) -> list[Segment]:
    formants, peak, width, voiced = _STOPS[name]
    bar = 0.12 if voiced else 0.0  # the murmur behind the closed lips of b, d, g
    closure = Segment(0.055, (200.0, *formants[1:]), voicing=bar)
    burst = Segment(0.012, formants, 0.0, 0.1, 0.7, peak, width, elastic=0.0)
    if voiced:
        return [closure, burst]
    return [closure, burst, Segment(0.04, formants, aspiration=0.3, elastic=0.4)]
