"""Signal-to-noise ratio of a recording, estimated from the distribution of its samples."""

from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.audio.read import read_waveform
from sv_cli.errors import AudioError
from sv_cli.tables.datadir.directory import Utterance

LOWEST, HIGHEST = -20.0, 100.0  # dB
SPEECH_SHAPE = 0.4  # of the Gamma distribution of the amplitudes of clean speech

Floats = NDArray[np.float64]


def wada_snr(waveform: NDArray[np.floating]) -> float:
    """Return the SNR in dB by waveform amplitude distribution analysis.

    Clean speech is taken to have amplitudes of a Gamma distribution of shape 0.4, noise to be
    Gaussian; their sum then has ln E|z| - E ln|z| that grows with the SNR alone. Noise that is as
    sparse as speech (barks, voices) is taken for speech.

    Parameters
    ----------
    waveform : ndarray, shape (num_samples,)
        Of any scale. Samples that are exactly zero have no logarithm and do not count.

    Returns
    -------
    snr : float
        Within -20 and 100 dB.

    Raises
    ------
    AudioError
        When all samples are zero.

    Source
    ------
    Kim and Stern, "Robust Signal-to-Noise Ratio Estimation Based on Waveform Amplitude
    Distribution Analysis", Interspeech 2008.
    """
    amplitudes = np.abs(waveform.astype(np.float64))
    amplitudes = amplitudes[amplitudes > 0]
    if len(amplitudes) == 0:
        raise AudioError("all samples are zero: there is no SNR")
    statistic = np.log(amplitudes.mean()) - np.log(amplitudes).mean()
    snr, expected = expected_statistic()
    return float(np.interp(statistic, expected, snr))


@cache
def expected_statistic() -> tuple[Floats, Floats]:
    """Return SNRs in dB and ln E|s + n| - E ln|s + n| at each, shape (num_points,) both.

    The noise n is normal of variance 1, the speech s has Gamma(0.4) amplitudes and any sign. Given
    s, E|s + n| is the mean of the folded normal distribution, and E ln|s + n| has the derivative
    sqrt(2) D(s / sqrt(2)), D being Dawson's integral; both are integrated over ln|s|.
    """
    from scipy.special import erf, gammaln

    snr = np.arange(LOWEST, HIGHEST + 1)
    at = np.arange(-60.0, 5.0, 0.02)  # ln x of x that is Gamma-distributed, of scale 1
    x = np.exp(at)
    weights = np.exp(SPEECH_SHAPE * at - x - gammaln(SPEECH_SHAPE))
    weights /= weights.sum()
    scale = np.sqrt(10 ** (snr / 10) / (SPEECH_SHAPE * (SPEECH_SHAPE + 1)))
    speech = scale[:, None] * x  # (num_points, len(x)), standard deviation 10^(snr / 20) each
    folded = np.sqrt(2 / np.pi) * np.exp(-0.5 * speech**2) + speech * erf(speech / np.sqrt(2))
    return snr, np.log(folded @ weights) - _expected_log(speech) @ weights


def _expected_log(speech: Floats) -> Floats:
    """Return E ln|s + n| over normal n of variance 1, of each s."""
    from scipy.special import dawsn

    grid = np.linspace(0.0, 30.0, 30001)
    slope = np.sqrt(2) * dawsn(grid / np.sqrt(2))
    steps = 0.5 * (slope[1:] + slope[:-1]) * np.diff(grid)
    at_zero = -0.5 * (np.euler_gamma + np.log(2))
    inside = np.interp(speech, grid, at_zero + np.concatenate([[0.0], np.cumsum(steps)]))
    far = np.maximum(speech, grid[-1])
    outside = np.log(far) - 0.5 / far**2 - 0.75 / far**4
    return np.asarray(np.where(speech < grid[-1], inside, outside), dtype=np.float64)


def measure_snr(
    utterances: Iterable[Utterance], *, audio_root: str | None = None, allow_missing: bool = False
) -> dict[str, float]:
    """Return the SNR in dB of each utterance, at the rate of its recording.

    Parameters
    ----------
    audio_root : str, optional
        Where relative paths start.
    allow_missing : bool
        Leave out recordings that cannot be read or hold only zeros, and say so.

    Raises
    ------
    AudioError
        Names the first such utterance otherwise.
    """
    found: dict[str, float] = {}
    with logs.progress("SNR of utterances") as progress:
        for utt, rx, start, end, channel in utterances:
            progress.advance()
            try:
                waveform, _ = read_waveform(
                    rx,
                    start=start,
                    end=end,
                    channel=channel,
                    sample_rate=None,
                    audio_root=audio_root,
                )
                found[utt] = wada_snr(waveform)
            except AudioError as error:
                if not allow_missing:
                    raise AudioError(f"`{utt}`: {error.message}", hint=error.hint) from error
                logs.warn(f"skipped `{utt}`: {error.message}")
    return found
