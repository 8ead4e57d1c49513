"""Cutting silence out of a waveform by its level."""

import numpy as np
from numpy.typing import NDArray

_FULL_SCALE = 32768.0


def remove_silence(
    waveform: NDArray[np.float32],
    sample_rate: int,
    *,
    threshold: float = 50.0,
    window_seconds: float = 0.1,
) -> NDArray[np.float32]:
    """Return the windows that are loud enough, concatenated.

    Parameters
    ----------
    waveform : (num_samples,) float32 in [-1, 1]
    sample_rate : int
        Rate in Hz.
    threshold : float
        Least mean magnitude of a window, in 16-bit steps. Where no window reaches it, a quarter of
        it is tried; where none reaches that, the waveform stays whole.
    window_seconds : float
        Length of a window; what is left at the end is a window, too.

    Source: asv-subtools' `de_silence`, which speaker-net's results rest on.
    """
    size = max(1, round(window_seconds * sample_rate))
    edges = np.arange(0, len(waveform), size)
    lengths = np.diff(edges, append=len(waveform))
    levels = np.add.reduceat(np.abs(waveform), edges, dtype=np.float64) / lengths * _FULL_SCALE
    for least in (threshold, threshold / 4.0):
        loud = levels > least
        if loud.any():
            return waveform[np.repeat(loud, lengths)]
    return waveform
