"""Another sampling rate."""

import numpy as np
import soxr
from numpy.typing import NDArray


def resample(
    waveform: NDArray[np.float32], from_rate: float, to_rate: float
) -> NDArray[np.float32]:
    """Return `waveform` at another sampling rate (band-limited, soxr's high quality)."""
    if from_rate == to_rate:
        return waveform
    changed: NDArray[np.float32] = soxr.resample(waveform, from_rate, to_rate, quality="HQ")
    return changed
