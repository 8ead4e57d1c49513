"""Recordings that the tests of augmentation know sample by sample."""

import numpy as np

RATE = 16000
NUM_SAMPLES = 8000


def loud(seed: int, count: int) -> np.ndarray:
    """Noise of a level of its own, as 16-bit samples."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return np.rint(rng.standard_normal(count) * 2000 * (1 + seed % 3)).astype(np.int16)


def response(seed: int, count: int) -> np.ndarray:
    """A delay, then an exponential decay."""
    rng = np.random.Generator(np.random.PCG64(1000 + seed))
    taps = rng.standard_normal(count) * np.exp(-np.arange(count) / 400) * 3000
    taps[: 20 + seed] = 0
    taps[20 + seed] = 20000
    return np.rint(taps).astype(np.int16)
