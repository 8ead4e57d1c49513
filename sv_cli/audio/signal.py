"""Level, clipping and duration of the active signal of a waveform, and a check of all three."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli.errors import AudioError

LOWEST_DBFS = -200.0
_BLOCK_SECONDS = 0.02
_ACTIVE_RANGE_DB = 30.0
_CLIPPED = 0.999


@dataclass(frozen=True)
class Signal:
    """What a waveform contains.

    Attributes
    ----------
    speech_seconds : float
        Time of the active blocks: those of 20 ms within 30 dB of the loudest. This is an energy
        criterion; it does not distinguish speech from noise.
    level : float
        RMS of the active blocks without the mean of the waveform, in dB relative to full scale;
        -200 where nothing but a constant is left.
    clipped_share : float
        Share of the samples at or above 0.999 of full scale.
    is_zero : bool
        All samples are zero.
    """

    speech_seconds: float
    level: float
    clipped_share: float
    is_zero: bool


@dataclass(frozen=True)
class SignalLimits:
    """Least speech in seconds, least level in dBFS and largest share of clipped samples."""

    min_speech: float
    min_level: float
    max_clipped: float


def measure_signal(waveform: NDArray[np.float32], sample_rate: int) -> Signal:
    """Return the signal of a waveform (num_samples,) float32 in [-1, 1]; `sample_rate` in Hz.

    `num_samples` is at least 1.
    """
    lowest, highest = float(waveform.min()), float(waveform.max())
    clipped = 0.0
    if max(-lowest, highest) >= _CLIPPED:
        clipped = np.count_nonzero(np.abs(waveform) >= _CLIPPED) / len(waveform)
    if lowest == highest:
        return Signal(0.0, LOWEST_DBFS, clipped, lowest == 0.0)
    size = min(len(waveform), max(1, round(_BLOCK_SECONDS * sample_rate)))
    whole = len(waveform) // size * size
    blocks = (waveform[:whole] - waveform.mean()).reshape(-1, size)
    powers = np.einsum("ij,ij->i", blocks, blocks) / size
    active = powers[powers >= powers.max() * 10.0 ** (-_ACTIVE_RANGE_DB / 10.0)]
    power = float(active.mean(dtype=np.float64))
    level = 10.0 * np.log10(power) if power > 0 else LOWEST_DBFS
    return Signal(len(active) * size / sample_rate, max(float(level), LOWEST_DBFS), clipped, False)


def check_signal(waveform: NDArray[np.float32], sample_rate: int, limits: SignalLimits) -> None:
    """Refuse a waveform (num_samples,) without a usable signal.

    Raises
    ------
    AudioError
        When it is digital silence, a constant, clipped, too quiet, or contains too little speech.
    """
    signal = measure_signal(waveform, sample_rate)
    if signal.is_zero:
        raise AudioError("digital silence: all samples are zero")
    if signal.clipped_share > limits.max_clipped:
        share = 100.0 * signal.clipped_share
        raise AudioError(f"clipped: {share:.0f} % of the samples are at full scale")
    if signal.level == LOWEST_DBFS:
        raise AudioError("constant level: all samples are equal")
    if signal.level < limits.min_level:
        raise AudioError(
            f"too quiet: a level of {signal.level:.1f} dBFS, below {limits.min_level:g} dBFS"
        )
    if signal.speech_seconds < limits.min_speech:
        raise AudioError(
            f"too little speech: {signal.speech_seconds:.2f} s, below {limits.min_speech:g} s"
        )
