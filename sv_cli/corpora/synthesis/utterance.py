"""One utterance of one speaker: a pure function of (seed, speaker, utterance)."""

import zlib

import numpy as np
from numpy.typing import NDArray

from sv_cli.corpora.synthesis.channel import record
from sv_cli.corpora.synthesis.glottis import glottal_pulses
from sv_cli.corpora.synthesis.prosody import FRAME_SECONDS, Tracks, make_tracks, plan_utterance
from sv_cli.corpora.synthesis.tract import (
    HOP_SECONDS,
    filter_speech,
    frication_shape,
    tract_response,
)
from sv_cli.corpora.synthesis.voice import Voice, draw_voice, vary_voice

SAMPLE_RATE = 16000
_VOICE, _UTTERANCE = 0, 1  # what a stream of random numbers is for


def speaker_voice(seed: int, spk: str, gender: str) -> Voice:
    """Return the voice of a speaker, the same in each process and each call."""
    return draw_voice(gender, _stream(seed, spk, _VOICE))


def synthesize(
    seed: int, spk: str, gender: str, utterance: int, *, seconds: tuple[float, float]
) -> NDArray[np.float32]:
    """Return the recording of utterance number `utterance` of a speaker.

    Parameters
    ----------
    seed : int
        Seed of the corpus.
    spk, gender : str
        Speaker id, and "f" or "m".
    utterance : int
        Number of the utterance; each has its own words, mood, room and device.
    seconds : (float, float)
        Shortest and longest duration.

    Returns
    -------
    recording : (num_samples,) float32
        Samples in [-1, 1) at `SAMPLE_RATE`.
    """
    rng = _stream(seed, spk, _UTTERANCE, utterance)
    voice = vary_voice(speaker_voice(seed, spk, gender), rng)
    return record(speak(voice, rng.uniform(*seconds), rng), SAMPLE_RATE, rng)


def speak(voice: Voice, seconds: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return clean speech of a voice, random words: (num_samples,) float32."""
    tracks = make_tracks(plan_utterance(voice, seconds, rng), voice, rng)
    num_samples = round(len(tracks.pitch_hz) * FRAME_SECONDS * SAMPLE_RATE)
    voiced, noise = _sources(tracks, voice, num_samples, rng)
    hop = int(HOP_SECONDS * SAMPLE_RATE)
    hops = np.arange(-(-num_samples // hop) + 1, dtype=np.float64)
    at = hops * HOP_SECONDS / FRAME_SECONDS - 0.5
    tract = tract_response(
        np.stack([_track_at(at, column) for column in tracks.formants.T], axis=1),
        _track_at(at, tracks.nasal_zero_hz),
        voice,
        SAMPLE_RATE,
    )
    shape = frication_shape(
        _track_at(at, tracks.noise_peak_hz), _track_at(at, tracks.noise_width_hz), SAMPLE_RATE
    )
    return filter_speech(voiced, noise, tract, shape, hop)


def _sources(
    tracks: Tracks, voice: Voice, num_samples: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Glottal source with breath, and frication noise: two (num_samples,) float64."""
    at = np.arange(num_samples) / (FRAME_SECONDS * SAMPLE_RATE) - 0.5
    pitch = _track_at(at, tracks.pitch_hz)
    pulses, opening = glottal_pulses(pitch, voice, SAMPLE_RATE, rng)
    voicing = _track_at(at, tracks.voicing)
    hiss = rng.standard_normal((2, num_samples), dtype=np.float32)
    breath = voice.breath * voicing * (0.3 + 1.4 * opening)
    breath += 0.2 * _track_at(at, tracks.aspiration)
    voiced = voicing * pulses + breath * hiss[0]
    buzz = np.where(voicing > 0.2, 0.4 + 1.2 * opening, 1.0)  # voiced fricatives come in puffs
    return voiced, 0.12 * _track_at(at, tracks.frication) * buzz * hiss[1]


def _track_at(at: NDArray[np.float64], track: NDArray[np.float64]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.interp(at, np.arange(len(track)), track)
    return values


def _stream(seed: int, spk: str, *numbers: int) -> np.random.Generator:
    name = zlib.crc32(spk.encode())
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, name, *numbers])))
