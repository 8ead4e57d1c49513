"""Band limits: what a line or a microphone leaves of a spectrum, in batches by FFT."""

import torch
from torch import Tensor

from sv_cli.augment.reverb import next_fast_size

# An edge falls as a raised cosine over this share of its frequency: 3400 Hz ends below 4000 Hz.
EDGE_SHARE = 1.0 / 6.0
# Silence after a crop, in seconds, in which the filter's response to its end dies away.
PAD_SECONDS = 0.1


def limit_band(waveforms: Tensor, low_hz: Tensor, high_hz: Tensor, sample_rate: int) -> Tensor:
    """Return (batch, num_samples) between two frequencies each, without delay.

    Parameters
    ----------
    waveforms : (batch, num_samples) float32
    low_hz, high_hz : (batch,) float32
        Where the edges begin: below `low_hz` it falls to nothing at 5/6 of it, above `high_hz` at
        7/6; 0 and half the sample rate or more leave that side as it is.
    sample_rate : int
        Hz.
    """
    num_samples = waveforms.shape[1]
    size = next_fast_size(num_samples + round(PAD_SECONDS * sample_rate))
    frequencies = torch.fft.rfftfreq(size, 1.0 / sample_rate, device=waveforms.device)
    response = band_response(frequencies, low_hz[:, None], high_hz[:, None])
    limited: Tensor = torch.fft.irfft(torch.fft.rfft(waveforms, size) * response, size)
    return limited[:, :num_samples]


def band_response(frequencies: Tensor, low_hz: Tensor, high_hz: Tensor) -> Tensor:
    """Return gains from 0 to 1 at frequencies in Hz; the three broadcast against each other."""
    below = (low_hz - frequencies) / (EDGE_SHARE * low_hz).clamp_min(1e-3)
    above = (frequencies - high_hz) / (EDGE_SHARE * high_hz)
    return _fall(below) * _fall(above)


def _fall(place: Tensor) -> Tensor:
    """Fall from 1 at 0 to 0 at 1 as a raised cosine."""
    return 0.5 + 0.5 * torch.cos(torch.pi * place.clamp(0.0, 1.0))
