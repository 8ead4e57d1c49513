"""The voice source: a train of glottal pulses whose every cycle differs a little.

The pulse is the derivative of Klatt's KLGLOTT88 flow, u(t) = t^2 - t^3 over the open phase
(Klatt and Klatt, JASA 1990). Its jump at closure is band-limited by a two-sample polynomial
residual, so that high voices do not alias.
"""

import numpy as np
from numpy.typing import NDArray

from sv_cli.corpora.synthesis.voice import Voice


def glottal_pulses(
    pitch_hz: NDArray[np.float64], voice: Voice, sample_rate: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the glottal flow derivative of a pitch track, and the opening of the glottis.

    Parameters
    ----------
    pitch_hz : (num_samples,) float64
        F0 at each sample.
    voice : Voice
        Open quotient, jitter and shimmer are used.
    sample_rate : int
        Hz.

    Returns
    -------
    pulses : (num_samples,) float64
        Flow derivative of about unit deviation.
    opening : (num_samples,) float64
        0 (closed) to 1 (widest), for the breath noise.
    """
    starts = _cycle_starts(pitch_hz, voice.jitter, sample_rate, rng)
    num_samples = len(pitch_hz)
    sample = np.arange(num_samples, dtype=np.float64)
    cycle = np.searchsorted(starts, sample, side="right") - 1
    periods = np.diff(starts)
    amplitude = 1.0 + voice.shimmer * rng.standard_normal(len(periods))
    quotient = np.clip(voice.open_quotient + 0.015 * rng.standard_normal(len(periods)), 0.3, 0.95)
    phase = (sample - starts[cycle]) / periods[cycle] / quotient[cycle]  # 0 to 1 while open
    is_open = phase < 1.0
    pulses = np.where(is_open, amplitude[cycle] * (2.0 * phase - 3.0 * phase**2), 0.0)
    opening = np.where(is_open, 6.75 * phase**2 * (1.0 - phase), 0.0)
    closures = starts[:-1] + quotient * periods
    _soften_jumps(pulses, closures, amplitude)
    return 2.5 * pulses, opening


def _cycle_starts(
    pitch_hz: NDArray[np.float64], jitter: float, sample_rate: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Instants, in samples, at which the glottis opens; the last is after the end."""
    phase = np.concatenate([[0.0], np.cumsum(pitch_hz / sample_rate)])
    tail = sample_rate / pitch_hz[-1]
    num_cycles = int(phase[-1])
    starts = np.interp(np.arange(num_cycles + 1), phase, np.arange(len(phase)))
    starts = np.append(starts, starts[-1] + np.arange(1, 4) * tail)
    shift = jitter * rng.standard_normal(len(starts)) * sample_rate / float(np.median(pitch_hz))
    shift[0] = 0.0
    jittered: NDArray[np.float64] = np.maximum.accumulate(starts + shift)
    return jittered


def _soften_jumps(
    pulses: NDArray[np.float64], closures: NDArray[np.float64], amplitude: NDArray[np.float64]
) -> None:
    """Add the residual of a band-limited step of height +amplitude at each closure, in place."""
    before = np.floor(closures).astype(np.int64)
    fraction = closures - before
    inside = (before >= 0) & (before + 1 < len(pulses))
    before, fraction, height = before[inside], fraction[inside], amplitude[inside]
    np.add.at(pulses, before, 0.5 * height * (1.0 - fraction) ** 2)
    np.add.at(pulses, before + 1, -0.5 * height * fraction**2)
