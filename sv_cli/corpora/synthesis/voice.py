"""What makes a speaker: the tract, the glottis, and the habits of speaking."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli.corpora.synthesis.phones import VOWELS

HIGH_FORMANTS_HZ = np.array([3500.0, 4500.0, 5500.0, 6500.0, 7500.0])


@dataclass(frozen=True)
class Voice:
    """One speaker, or one speaker on one day.

    Parameters
    ----------
    gender : str
        "f" or "m"; the two differ in pitch and tract length and overlap in both.
    formant_scale : (3,) float64
        Factor on F1, F2, F3: tract length and the proportion of mouth to throat.
    vowel_shift : dict of str to (3,) float64
        The speaker's own place of each vowel, a factor on each formant.
    vowel_space : float
        Distance of the vowels from the neutral one; small is mumbled.
    high_formants : (5,) float64
        F4 to F8 in Hz, hardly moved by articulation.
    bandwidth_scale : float
        Damping of the tract.
    nasality_hz : float
        How far the nasal zero stays from its pole in vowels.
    sibilant_scale : float
        Factor on the noise peaks of fricatives.
    pitch_hz, pitch_range, declination : float
        Median F0; deviation of log F0 in accents; fall of log F0 over a phrase.
    open_quotient, tilt_db, breath, jitter, shimmer : float
        Glottis: open part of the cycle; fall at 3 kHz; noise in the open phase; relative
        deviation of the period and of the amplitude from cycle to cycle.
    rate, pause_chance : float
        Factor on the speed of speaking; chance of a pause between words.
    """

    gender: str
    formant_scale: NDArray[np.float64]
    vowel_shift: dict[str, NDArray[np.float64]]
    vowel_space: float
    high_formants: NDArray[np.float64]
    bandwidth_scale: float
    nasality_hz: float
    sibilant_scale: float
    pitch_hz: float
    pitch_range: float
    declination: float
    open_quotient: float
    tilt_db: float
    breath: float
    jitter: float
    shimmer: float
    rate: float
    pause_chance: float


def draw_voice(gender: str, rng: np.random.Generator) -> Voice:
    """Draw a speaker of a gender, "f" or "m"."""
    male = gender == "m"
    length = rng.normal(1.0 if male else 1.15, 0.055)
    pitch = np.exp(rng.normal(np.log(118.0 if male else 200.0), 0.18))
    return Voice(
        gender=gender,
        formant_scale=length * (1.0 + rng.normal(0.0, [0.04, 0.05, 0.055])),
        vowel_shift={name: 1.0 + rng.normal(0.0, [0.07, 0.07, 0.04]) for name in VOWELS},
        vowel_space=rng.uniform(0.78, 1.08),
        high_formants=HIGH_FORMANTS_HZ * length * (1.0 + rng.normal(0.0, 0.06, 5)),
        bandwidth_scale=rng.uniform(0.75, 1.6),
        nasality_hz=rng.exponential(70.0),
        sibilant_scale=rng.normal(1.0 if male else 1.1, 0.11),
        pitch_hz=float(np.clip(pitch, 75.0, 330.0)),
        pitch_range=rng.uniform(0.06, 0.22),
        declination=rng.uniform(0.05, 0.3),
        open_quotient=rng.uniform(0.42, 0.8),
        tilt_db=rng.uniform(1.0, 14.0),
        breath=float(np.exp(rng.normal(np.log(0.035 if male else 0.05), 0.6))),
        jitter=rng.uniform(0.003, 0.016),
        shimmer=rng.uniform(0.02, 0.09),
        rate=rng.normal(1.0, 0.12),
        pause_chance=rng.uniform(0.03, 0.2),
    )


def vary_voice(voice: Voice, rng: np.random.Generator) -> Voice:
    """Return the speaker on another day: mood, effort, distance, a slight cold."""
    effort = rng.normal(0.0, 1.0)  # a raised voice: higher, tenser, brighter
    cold = max(rng.normal(0.0, 1.0), 0.0)
    changes = {
        "formant_scale": voice.formant_scale * (1.0 + rng.normal(0.0, 0.01, 3)),
        "vowel_space": voice.vowel_space * rng.normal(1.0, 0.04),
        "bandwidth_scale": voice.bandwidth_scale * float(np.exp(rng.normal(0.0, 0.12))),
        "nasality_hz": voice.nasality_hz + 25.0 * cold,
        "pitch_hz": voice.pitch_hz * float(np.exp(0.05 * effort + rng.normal(0.0, 0.04))),
        "pitch_range": voice.pitch_range * float(np.exp(rng.normal(0.0, 0.25))),
        "open_quotient": float(
            np.clip(voice.open_quotient - 0.04 * effort + rng.normal(0, 0.03), 0.35, 0.9)
        ),
        "tilt_db": max(voice.tilt_db - 1.2 * effort + rng.normal(0.0, 0.7), 0.0),
        "breath": voice.breath * float(np.exp(rng.normal(-0.2 * effort, 0.3))),
        "rate": float(np.clip(voice.rate * rng.normal(1.0, 0.1), 0.6, 1.6)),
    }
    return Voice(**{**vars(voice), **changes})
