"""The synthetic speakers: the same for the same seed, and made like speech."""

import numpy as np
import pytest

from sv_cli.corpora.synthesis.channel import record
from sv_cli.corpora.synthesis.glottis import glottal_pulses
from sv_cli.corpora.synthesis.phones import CODAS, NUCLEI, ONSETS, consonant, vowel
from sv_cli.corpora.synthesis.prosody import FRAME_SECONDS, make_tracks, plan_utterance
from sv_cli.corpora.synthesis.tract import NUM_FFT, tract_response
from sv_cli.corpora.synthesis.utterance import SAMPLE_RATE, speak, speaker_voice, synthesize
from sv_cli.corpora.synthesis.voice import draw_voice, vary_voice


def test_an_utterance_is_a_function_of_seed_speaker_and_number() -> None:
    first = synthesize(3, "d0001", "f", 2, seconds=(1.0, 1.2))
    assert np.array_equal(first, synthesize(3, "d0001", "f", 2, seconds=(1.0, 1.2)))
    others = [(4, "d0001", 2), (3, "d0002", 2), (3, "d0001", 3)]
    for seed, spk, number in others:
        other = synthesize(seed, spk, "f", number, seconds=(1.0, 1.2))
        assert len(other) != len(first) or not np.array_equal(other, first)


def test_recordings_are_in_range_and_of_the_length_asked_for() -> None:
    for number in range(6):
        recording = synthesize(0, "d0000", "fm"[number % 2], number, seconds=(1.0, 2.0))
        assert recording.dtype == np.float32
        assert np.isfinite(recording).all()
        assert 0.99 >= np.abs(recording).max() > 0.01
        assert 0.9 < len(recording) / SAMPLE_RATE < 3.2


def test_the_pitch_of_the_pulses_is_the_one_asked_for() -> None:
    rng = np.random.default_rng(0)
    voice = draw_voice("m", rng)
    for pitch in (90.0, 147.0, 260.0):
        pulses, opening = glottal_pulses(np.full(8000, pitch), voice, 8000, rng)
        flow = np.cumsum(pulses - pulses.mean())
        spectrum = np.abs(np.fft.rfft(flow * np.hanning(8000)))
        assert abs(int(np.argmax(spectrum[50:400])) + 50 - pitch) <= 2
        assert opening.min() >= 0.0
        assert opening.max() <= 1.0
        assert abs(pulses.mean()) < 0.1  # a derivative: what opens closes again


def test_the_tract_resonates_at_its_formants() -> None:
    voice = draw_voice("m", np.random.default_rng(1))
    formants = np.array([[500.0, 1500.0, 2500.0], [300.0, 2200.0, 3000.0]])
    response = np.abs(tract_response(formants, np.full(2, 270.0), voice, SAMPLE_RATE))
    frequency = np.linspace(0, SAMPLE_RATE / 2, NUM_FFT // 2 + 1)
    for row, expected in zip(response, formants, strict=True):
        inner = row[1:-1]
        peaks = frequency[1:-1][(inner > row[:-2]) & (inner > row[2:])]
        for formant in expected:
            assert np.abs(peaks - formant).min() < 60.0
    assert response[:, 0] == pytest.approx(1.0, rel=1e-3)


def test_men_and_women_differ_in_pitch_and_tract() -> None:
    voices = {g: [speaker_voice(0, f"{g}{n}", g) for n in range(60)] for g in "fm"}
    pitch = {g: np.median([v.pitch_hz for v in voices[g]]) for g in voices}
    scale = {g: np.mean([v.formant_scale.mean() for v in voices[g]]) for g in voices}
    assert 105 < pitch["m"] < 135
    assert 180 < pitch["f"] < 220
    assert 1.1 < scale["f"] / scale["m"] < 1.2


def test_a_speaker_varies_less_than_speakers_differ() -> None:
    rng = np.random.default_rng(5)
    voices = [draw_voice("f", rng) for _ in range(40)]
    days = np.array([[vary_voice(v, rng).formant_scale for _ in range(10)] for v in voices])
    within = days.std(axis=1).mean()
    between = days.mean(axis=1).std(axis=0).mean()
    assert between > 3 * within


def test_every_phone_has_a_sound_and_a_duration() -> None:
    for name in {*ONSETS, *CODAS}:
        segments = consonant(name)
        assert all(segment.seconds > 0 for segment in segments)
        assert max(s.voicing + s.aspiration + s.frication for s in segments) > 0
    for name in NUCLEI:
        assert sum(s.seconds for s in vowel(name, seconds=0.1, strength=1.0)) == pytest.approx(0.1)


def test_tracks_are_smooth_and_as_long_as_their_plan() -> None:
    rng = np.random.default_rng(2)
    voice = draw_voice("f", rng)
    tracks = make_tracks(plan_utterance(voice, 2.0, rng), voice, rng)
    assert len({len(track) for track in vars(tracks).values()}) == 1
    assert 1.9 < len(tracks.pitch_hz) * FRAME_SECONDS < 3.5
    assert np.abs(np.diff(tracks.formants, axis=0)).max() < 600  # Hz in 4 ms
    assert tracks.voicing.min() >= 0


def test_speech_pauses_and_most_of_it_is_low(tmp_path: object) -> None:
    rng = np.random.default_rng(8)
    speech = speak(draw_voice("m", rng), 2.0, rng)
    frames = speech[: len(speech) // 160 * 160].reshape(-1, 160)
    level = 10 * np.log10((frames**2).mean(axis=1) + 1e-9)
    assert level.max() - level.min() > 40
    power = np.abs(np.fft.rfft(speech)) ** 2
    low = power[: len(power) // 4].sum() / power.sum()
    assert low > 0.6


def test_the_channel_keeps_length_and_draws_a_level() -> None:
    speech = speak(draw_voice("m", np.random.default_rng(1)), 1.0, np.random.default_rng(2))
    levels = []
    for seed in range(8):
        recording = record(speech, SAMPLE_RATE, np.random.default_rng(seed))
        assert len(recording) == len(speech)
        levels.append(20 * np.log10(recording.std()))
    assert -36 < min(levels) < max(levels) < -14
