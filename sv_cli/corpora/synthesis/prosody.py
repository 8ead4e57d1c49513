"""What is said and how: a sequence of segments, and tracks of pitch, formants and sources."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli.corpora.synthesis import phones
from sv_cli.corpora.synthesis.phones import Segment
from sv_cli.corpora.synthesis.voice import Voice

FRAME_SECONDS = 0.004


@dataclass(frozen=True)
class Syllable:
    """One syllable of the plan: its targets, and whether it carries the accent."""

    segments: list[Segment]
    accented: bool


@dataclass(frozen=True)
class Tracks:
    """What the synthesiser follows, one row each `FRAME_SECONDS`.

    Parameters
    ----------
    pitch_hz, voicing, aspiration, frication : (num_frames,) float64
        F0, and the amplitudes of the three sources.
    formants : (num_frames, 3) float64
        F1 to F3 in Hz.
    noise_peak_hz, noise_width_hz, nasal_zero_hz : (num_frames,) float64
        Frication noise, and the zero of the nasal branch.
    """

    pitch_hz: NDArray[np.float64]
    voicing: NDArray[np.float64]
    aspiration: NDArray[np.float64]
    frication: NDArray[np.float64]
    formants: NDArray[np.float64]
    noise_peak_hz: NDArray[np.float64]
    noise_width_hz: NDArray[np.float64]
    nasal_zero_hz: NDArray[np.float64]


def plan_utterance(voice: Voice, seconds: float, rng: np.random.Generator) -> list[Syllable]:
    """Draw words of one to three syllables until they last `seconds`, silence at both ends."""
    plan = [Syllable(phones.pause(rng.uniform(0.05, 0.25)), accented=False)]
    spent = _seconds_of(plan[0], voice.rate)
    while spent < seconds:
        word = _draw_word(rng)
        if rng.random() < voice.pause_chance:
            word.append(Syllable(phones.pause(rng.uniform(0.08, 0.35)), accented=False))
        plan += word
        spent += sum(_seconds_of(syllable, voice.rate) for syllable in word)
    plan.append(Syllable(phones.pause(rng.uniform(0.08, 0.25)), accented=False))
    return plan


def make_tracks(plan: list[Syllable], voice: Voice, rng: np.random.Generator) -> Tracks:
    """Return the tracks of a plan in a speaker's voice: targets, glided as articulators move."""
    segments = [segment for syllable in plan for segment in syllable.segments]
    counts = np.array([_num_frames(segment, voice.rate) for segment in segments])
    glide = 0.055 / voice.rate
    nasality = phones.NO_NASAL_ZERO_HZ + voice.nasality_hz

    def spread(values: list[float], seconds: float) -> NDArray[np.float64]:
        return _smooth(np.repeat(np.array(values), counts), seconds)

    targets = np.array([_own_formants(segment, voice) for segment in segments])
    targets *= np.exp(rng.normal(0.0, 0.03, targets.shape))  # no two tokens are the same
    formants = np.stack([spread(list(column), glide) for column in targets.T], axis=1)
    sibilant = voice.sibilant_scale
    return Tracks(
        pitch_hz=_pitch_track(plan, counts, voice, rng),
        voicing=spread([s.voicing for s in segments], 0.024),
        aspiration=spread([s.aspiration for s in segments], 0.02),
        frication=spread([s.frication for s in segments], 0.014),
        formants=formants,
        noise_peak_hz=spread([s.noise_peak_hz * sibilant for s in segments], 0.02),
        noise_width_hz=spread([s.noise_width_hz for s in segments], 0.02),
        nasal_zero_hz=spread([max(s.nasal_zero_hz, nasality) for s in segments], 0.05),
    )


def _draw_word(rng: np.random.Generator) -> list[Syllable]:
    num_syllables = int(rng.choice([1, 2, 3], p=[0.45, 0.4, 0.15]))
    accent = int(rng.integers(num_syllables))
    return [_draw_syllable(position == accent, rng) for position in range(num_syllables)]


def _draw_syllable(accented: bool, rng: np.random.Generator) -> Syllable:
    segments: list[Segment] = []
    shape = rng.random()
    if shape < 0.12:
        first, second = phones.CLUSTERS[rng.integers(len(phones.CLUSTERS))]
        segments += phones.consonant(first) + phones.consonant(second)
    elif shape < 0.92:
        segments += phones.consonant(phones.ONSETS[rng.integers(len(phones.ONSETS))])
    nucleus = str(rng.choice(phones.NUCLEI)) if accented or rng.random() < 0.5 else "ax"
    seconds = (0.13 if accented else 0.08) * float(np.exp(rng.normal(0.0, 0.2)))
    strength = (1.0 if accented else 0.75) * rng.uniform(0.85, 1.0)
    segments += phones.vowel(nucleus, seconds=seconds, strength=strength)
    if rng.random() < 0.4:
        segments += phones.consonant(phones.CODAS[rng.integers(len(phones.CODAS))])
    return Syllable(segments, accented)


def _pitch_track(
    plan: list[Syllable], counts: NDArray[np.int64], voice: Voice, rng: np.random.Generator
) -> NDArray[np.float64]:
    """F0: a falling line, a bump for each accent, a slow drift, a final fall or rise."""
    num_frames = int(counts.sum())
    position = np.linspace(0.0, 1.0, num_frames)
    log_pitch = voice.declination * (0.5 - position)
    frame = np.arange(num_frames)
    start = segment = 0
    for syllable in plan:
        size = int(counts[segment : segment + len(syllable.segments)].sum())
        if syllable.accented:
            centre, width = start + 0.6 * size, 0.6 * size + 8.0
            bump = np.exp(-0.5 * ((frame - centre) / width) ** 2)
            log_pitch = log_pitch + voice.pitch_range * rng.normal(1.0, 0.4) * bump
        start += size
        segment += len(syllable.segments)
    drift = _smooth(rng.normal(0.0, 1.0, num_frames), 0.25)
    log_pitch = log_pitch + 0.02 * drift / max(float(drift.std()), 1e-9)
    final = -0.25 if rng.random() < 0.7 else 0.2
    log_pitch = log_pitch + final * np.clip((position - 0.85) / 0.15, 0.0, 1.0)
    return np.clip(voice.pitch_hz * np.exp(log_pitch), 50.0, 500.0)


def _own_formants(segment: Segment, voice: Voice) -> NDArray[np.float64]:
    formants = np.array(segment.formants)
    neutral = np.array(phones.NEUTRAL)
    if segment.vowel:
        formants = neutral * (formants / neutral) ** voice.vowel_space
        formants = formants * voice.vowel_shift[segment.vowel]
    return formants * voice.formant_scale


def _num_frames(segment: Segment, rate: float) -> int:
    seconds = segment.seconds * (1.0 - segment.elastic + segment.elastic / rate)
    return max(round(seconds / FRAME_SECONDS), 1)


def _seconds_of(syllable: Syllable, rate: float) -> float:
    return FRAME_SECONDS * sum(_num_frames(segment, rate) for segment in syllable.segments)


def _smooth(track: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """Convolve with a raised cosine of a given full width; the ends are held."""
    half = max(round(seconds / FRAME_SECONDS / 2), 1)
    kernel = np.hanning(2 * half + 3)[1:-1]
    padded = np.pad(track, half, mode="edge")
    smoothed: NDArray[np.float64] = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    return smoothed
