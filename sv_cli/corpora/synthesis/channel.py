"""Between mouth and file: a room, a microphone, a line, noise, and a level."""

import numpy as np
from numpy.typing import NDArray


def record(
    speech: NDArray[np.float32], sample_rate: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return speech as a random device in a random place records it, within [-1, 1).

    Parameters
    ----------
    speech : (num_samples,) float32
        What left the mouth.
    sample_rate : int
        Hz.
    rng : numpy.random.Generator
        Draws room, equalisation, band, noise colour, signal-to-noise ratio and level.

    Returns
    -------
    recording : (num_samples,) float32
    """
    num_samples = len(speech)
    reverb = _room(sample_rate, rng)
    num_fft = _fft_size(num_samples + len(reverb))
    frequency = np.linspace(0.0, sample_rate / 2, num_fft // 2 + 1)
    spectrum = np.fft.rfft(speech, num_fft) * np.fft.rfft(reverb, num_fft)
    noise = _noise_spectrum(frequency, rng)
    ratio_db = rng.uniform(18.0, 42.0)
    noise *= np.sqrt(_power(spectrum) / _power(noise)) * 10.0 ** (-ratio_db / 20.0)
    device = _device(frequency, rng)
    recording = np.fft.irfft((spectrum + noise) * device, num_fft)[:num_samples]
    level_db = rng.uniform(-34.0, -16.0)
    recording *= 10.0 ** (level_db / 20.0) / max(float(np.sqrt(np.mean(recording**2))), 1e-9)
    clipped: NDArray[np.float32] = np.clip(recording, -0.99, 0.99).astype(np.float32)
    return clipped


def _room(sample_rate: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Impulse response: the direct sound, then a tail of noise that falls by 60 dB."""
    reverb_seconds = rng.uniform(0.08, 0.4)
    time = np.arange(int(reverb_seconds * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(time)) * 10.0 ** (-3.0 * time / reverb_seconds)
    tail[: int(0.002 * sample_rate)] = 0.0
    direct_db = rng.uniform(6.0, 24.0)
    tail *= 10.0 ** (-direct_db / 20.0) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return tail


def _device(frequency: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Gain of microphone and line: a smooth random curve, and a pass band."""
    octave = np.log2(np.maximum(frequency, 50.0) / 50.0) / np.log2(frequency[-1] / 50.0)
    curve_db = rng.normal(0.0, 1.5) * (octave - 0.5)
    for ripple in range(1, 5):
        curve_db = curve_db + rng.normal(0.0, 1.0 / ripple) * np.cos(
            np.pi * ripple * octave + rng.uniform(0.0, 2.0 * np.pi)
        )
    low, high = rng.uniform(30.0, 150.0), frequency[-1] * rng.uniform(0.8, 1.0)
    if rng.random() < 0.05:  # a telephone line
        low, high = 300.0, 3400.0
    below, above = (low / np.maximum(frequency, 1.0)) ** 2, (frequency / high) ** 2
    passed = 1.0 / np.sqrt((1.0 + below * below * below) * (1.0 + np.square(np.square(above**2))))
    gain: NDArray[np.float64] = passed * np.exp(np.log(10.0) / 20.0 * curve_db)
    return gain


def _noise_spectrum(
    frequency: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.complex128]:
    """Spectrum of stationary noise whose density falls by 0 to 6 dB an octave, and some hum."""
    parts = rng.standard_normal((2, len(frequency)))
    slope = rng.uniform(0.0, 1.0)
    colour = np.exp(-slope * np.log(np.maximum(frequency, 40.0) / 1000.0))
    spectrum: NDArray[np.complex128] = (parts[0] + 1j * parts[1]) * colour
    if rng.random() < 0.2:
        low = frequency < 260.0
        lines = (frequency[low, None] - 50.0 * np.arange(1, 6)) / 0.7
        spectrum[low] *= 1.0 + 60.0 * np.exp(-0.5 * lines**2).sum(axis=1)
    return spectrum


def _fft_size(num_samples: int) -> int:
    """Return the next size of the form 4, 5, 6 or 7 times a power of two."""
    power = max(num_samples.bit_length() - 3, 0)
    return min(m << power for m in (4, 5, 6, 7, 8) if m << power >= num_samples)


def _power(spectrum: NDArray[np.complex128] | NDArray[np.complex64]) -> float:
    return max(float(np.mean(np.abs(spectrum) ** 2)), 1e-20)
