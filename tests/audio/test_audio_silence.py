"""Silence by level, window by window."""

import numpy as np
import pytest

from sv_cli.audio.silence import remove_silence

RATE, WINDOW = 16000, 1600


def windows(*levels: float, rest: int = 0) -> np.ndarray:
    """Windows of alternating sign, each with its mean magnitude in 16-bit steps."""
    sign = np.resize([1.0, -1.0], WINDOW)
    parts = [sign * level for level in levels]
    if rest:
        parts.append(sign[:rest] * levels[-1])
    return (np.concatenate(parts) / 32768).astype(np.float32)


def test_windows_above_the_threshold_stay_in_their_order() -> None:
    waveform = windows(10, 60, 49, 300, 51, rest=70)
    expected = np.concatenate([waveform[WINDOW : 2 * WINDOW], waveform[3 * WINDOW :]])
    assert np.array_equal(remove_silence(waveform, RATE), expected)


def test_the_rest_is_a_window_of_its_own() -> None:
    waveform = windows(60, 20, rest=400)
    waveform[-400:] *= 4
    kept = remove_silence(waveform, RATE)
    assert np.array_equal(kept, np.concatenate([waveform[:WINDOW], waveform[-400:]]))


def test_quiet_recordings_are_tried_at_a_quarter_and_else_stay_whole() -> None:
    quiet = windows(10, 20, 30)
    assert np.array_equal(remove_silence(quiet, RATE), quiet[WINDOW:])
    silent = windows(1, 2, 3)
    assert remove_silence(silent, RATE) is silent


@pytest.mark.parametrize("count", [1, 2, WINDOW, WINDOW + 1])
def test_short_recordings(count: int) -> None:
    loud = windows(100, 100)[:count]
    assert np.array_equal(remove_silence(loud, RATE), loud)
