"""The signal of a waveform: its level, its speech, its clipping, and what is refused."""

import numpy as np
import pytest

from sv_cli.audio.signal import SignalLimits, check_signal, measure_signal
from sv_cli.errors import AudioError

RATE = 16000
LIMITS = SignalLimits(min_speech=0.1, min_level=-70.0, max_clipped=0.5)


def tone(seconds: float, amplitude: float = 0.1, offset: float = 0.0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (offset + amplitude * np.sin(2 * np.pi * 250 * time)).astype(np.float32)


def test_level_and_duration_are_those_of_a_known_tone():
    gap = np.zeros(RATE, np.float32)
    signal = measure_signal(np.concatenate([gap, tone(0.6), gap]), RATE)
    assert signal.speech_seconds == pytest.approx(0.6)
    assert signal.level == pytest.approx(20 * np.log10(0.1 / np.sqrt(2)), abs=1e-3)
    assert signal.clipped_share == 0.0
    assert not signal.is_zero


def test_an_offset_does_not_count():
    plain, moved = (measure_signal(tone(1.0, 0.01, offset), RATE) for offset in (0.0, 0.5))
    assert moved.level == pytest.approx(plain.level, abs=0.01)
    assert moved.speech_seconds == plain.speech_seconds


@pytest.mark.parametrize(
    ("waveform", "reason"),
    [
        (np.zeros(RATE, np.float32), "digital silence"),
        (np.full(RATE, 0.25, np.float32), "constant level"),
        (np.ones(RATE, np.float32), "100 % of the samples are at full scale"),
        (np.clip(50 * tone(1.0), -1, 1), r"clipped: \d\d % of the samples"),
        (tone(1.0, 1e-4), "too quiet: a level of -83.0 dBFS, below -70 dBFS"),
        (tone(0.025), "too little speech: 0.02 s, below 0.1 s"),
        (np.concatenate([np.zeros(RATE, np.float32), tone(0.04)]), "too little speech: 0.04 s"),
        (np.eye(1, RATE, 8000, dtype=np.float32)[0], "too little speech: 0.02 s"),
    ],
)
def test_what_has_no_signal_is_refused(waveform, reason):
    with pytest.raises(AudioError, match=reason):
        check_signal(waveform, RATE, LIMITS)


@pytest.mark.parametrize("amplitude", [0.002, 0.1, 0.999])
def test_ordinary_levels_pass(amplitude):
    check_signal(tone(0.2, amplitude), RATE, LIMITS)


def test_recorded_speech_passes_at_every_level_from_minus_30_db(shared):
    import soundfile

    paths = sorted((shared / "data" / "wav").rglob("*.flac"))[::100]
    assert len(paths) > 5
    for path in paths:
        waveform, rate = soundfile.read(path, dtype="float32")
        for gain in (1.0, 10 ** (-30 / 20)):
            check_signal(waveform * np.float32(gain), rate, LIMITS)
