"""The vocal tract: resonances that move, applied frame by frame in the frequency domain."""

import numpy as np
from numpy.typing import NDArray

from sv_cli.corpora.synthesis.phones import NO_NASAL_ZERO_HZ
from sv_cli.corpora.synthesis.voice import Voice

HOP_SECONDS = 0.008
NUM_FFT = 512

ComplexArray = NDArray[np.complex64]


def filter_speech(
    voiced: NDArray[np.float64],
    noise: NDArray[np.float64],
    tract: ComplexArray,
    noise_shape: NDArray[np.float32],
    hop: int,
) -> NDArray[np.float32]:
    """Return voice through the tract plus noise through its shape, by overlap-add.

    Parameters
    ----------
    voiced, noise : (num_samples,) float64
        Sources: glottis with breath, and frication.
    tract : (num_frames, num_bins) complex64
        Transfer function of the vocal tract at each hop.
    noise_shape : (num_frames, num_bins) float32
        Gain of the frication noise.
    hop : int
        Samples from frame to frame; the window is twice as long.

    Returns
    -------
    speech : (num_samples,) float32
    """
    num_frames = len(tract)
    spectrum = _frames_spectrum(voiced, num_frames, hop) * tract
    spectrum += _frames_spectrum(noise, num_frames, hop) * noise_shape
    pieces = np.fft.irfft(spectrum, NUM_FFT, axis=1).astype(np.float32)
    speech = np.zeros((num_frames - 1) * hop + NUM_FFT, dtype=np.float32)
    for part in range(NUM_FFT // hop):
        blocks = pieces[:, part * hop : (part + 1) * hop]
        stop = (part + num_frames) * hop
        speech[part * hop : stop] += blocks.reshape(-1)
    return speech[hop : hop + len(voiced)]


def tract_response(
    formants: NDArray[np.float64], nasal_zero_hz: NDArray[np.float64], voice: Voice, rate: int
) -> ComplexArray:
    """Return the transfer function of a cascade of resonances (Klatt, JASA 1980).

    Parameters
    ----------
    formants : (num_frames, 3) float64
        F1 to F3 in Hz; F4 and above are the voice's own.
    nasal_zero_hz : (num_frames,) float64
        Zero of the nasal branch.
    voice : Voice
        High formants, bandwidths and tilt.
    rate : int
        Sample rate in Hz.

    Returns
    -------
    response : (num_frames, num_bins) complex64
    """
    bandwidths = voice.bandwidth_scale * (45.0 + 0.035 * formants)
    response = _zero(nasal_zero_hz, np.full_like(nasal_zero_hz, 100.0), rate)
    for column in range(3):
        response /= _zero(formants[:, column], bandwidths[:, column], rate)
    fixed = np.concatenate([[NO_NASAL_ZERO_HZ], voice.high_formants])
    widths = np.concatenate([[100.0], voice.bandwidth_scale * (70.0 + 0.05 * voice.high_formants)])
    audible = fixed < 0.48 * rate
    shape = np.prod(1.0 / _zero(fixed[audible], widths[audible], rate), axis=0)
    tilted: ComplexArray = response * (shape * _tilt(voice.tilt_db, rate))
    return tilted


def frication_shape(
    peak_hz: NDArray[np.float64], width_hz: NDArray[np.float64], rate: int
) -> NDArray[np.float32]:
    """Return the gain of a noise with one broad peak, of about unit power, for each frame."""
    frequency = np.linspace(0.0, rate / 2, NUM_FFT // 2 + 1, dtype=np.float32)
    peak = peak_hz.astype(np.float32)[:, None]
    width = width_hz.astype(np.float32)[:, None]
    below = np.minimum(frequency / (0.5 * peak), 1.0)  # a small front cavity passes no lows
    gain = below / np.sqrt(1.0 + ((frequency - peak) / (0.5 * width)) ** 2)
    shape: NDArray[np.float32] = gain / np.sqrt(np.mean(gain**2, axis=1, keepdims=True))
    return shape


def _frames_spectrum(signal: NDArray[np.float64], num_frames: int, hop: int) -> ComplexArray:
    window = np.hanning(2 * hop + 1)[:-1].astype(np.float32)
    padded = np.zeros((num_frames + 1) * hop, dtype=np.float32)
    padded[hop : hop + len(signal)] = signal
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop]
    spectrum: ComplexArray = np.fft.rfft(frames * window, NUM_FFT).astype(np.complex64, copy=False)
    return spectrum


def _zero(
    frequency_hz: NDArray[np.float64], bandwidth_hz: NDArray[np.float64], rate: int
) -> ComplexArray:
    """1 - 2 r cos(theta) z^-1 + r^2 z^-2, divided by its value at 0 Hz: (num, num_bins)."""
    radius = np.exp(-np.pi * bandwidth_hz / rate)[:, None].astype(np.float32)
    cosine = np.cos(2.0 * np.pi * frequency_hz / rate)[:, None].astype(np.float32)
    omega = np.linspace(0.0, np.pi, NUM_FFT // 2 + 1)
    delay = np.exp(-1j * omega).astype(np.complex64)
    first, second = -2.0 * radius * cosine, radius**2
    polynomial: ComplexArray = 1.0 + first * delay + second * delay**2
    polynomial /= 1.0 + first + second
    return polynomial


def _tilt(tilt_db: float, rate: int) -> NDArray[np.float32]:
    """Gain that has fallen by `tilt_db` at 3 kHz, of first order (zero phase)."""
    frequency = np.linspace(0.0, rate / 2, NUM_FFT // 2 + 1)
    corner = 3000.0 / np.sqrt(max(10.0 ** (tilt_db / 10.0) - 1.0, 1e-6))
    gain: NDArray[np.float32] = (1.0 / np.sqrt(1.0 + (frequency / corner) ** 2)).astype(np.float32)
    return gain
