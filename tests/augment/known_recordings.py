"""Recordings that the tests of augmentation know sample by sample."""

import numpy as np
import torch

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


def vowels(count: int, num_samples: int) -> torch.Tensor:
    """(count, num_samples) harmonics of gliding pitches, each its own, in a little noise."""
    rng = np.random.Generator(np.random.PCG64(77))
    time = np.arange(num_samples) / RATE
    rows = []
    for row in range(count):
        glide = np.cumsum(110 + 15 * row + 50 * np.sin(2 * np.pi * 1.1 * time + row))
        phase = 2 * np.pi * glide / RATE
        wave = sum(np.sin(k * phase + k * k) / k for k in range(1, 30))
        rows.append(0.08 * wave + 0.002 * rng.standard_normal(num_samples))
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def shifted_by(before: np.ndarray, after: np.ndarray) -> int:
    """Return by how many samples `after` is late, by the peak of the cross-correlation."""
    size = 2 * len(before)
    product = np.fft.rfft(after, size) * np.conj(np.fft.rfft(before, size))
    best = int(np.argmax(np.fft.irfft(product, size)))
    return best if best < len(before) else best - size
