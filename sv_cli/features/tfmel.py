"""Mel spectrograms of ReDimNet2 (`TFMelBanks` of PalabraAI/redimnet2; WeSpeaker's `tfmel`).

Half a frame shift of zeros on each side, symmetric windows, a spectrum without its last bin, and
mel triangles that take the bins to be spaced by Nyquist / (bins - 1) instead of their frequency.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from sv_cli.features.fbank import kaldi_window, mel_triangles
from sv_cli.features.mel import prepare_samples
from sv_cli.features.settings import FrontendSettings

FLOOR, CEILING = 1e-8, 1e8  # of powers and of mel energies


def num_padded_frames(num_samples: int, settings: FrontendSettings) -> int:
    """Return how many frames a waveform has.

    Examples
    --------
    >>> from sv_cli.features.settings import FRONTENDS
    >>> [num_padded_frames(n, FRONTENDS["tfmel"]) for n in (239, 240, 32240, 96240)]
    [0, 1, 201, 601]
    """
    room = num_samples + 2 * padding(settings) - settings.frame_length
    return 1 + room // settings.frame_shift if room >= 0 else 0


def padding(settings: FrontendSettings) -> int:
    """Return the zeros on each side of a waveform."""
    return settings.frame_shift // 2


@torch.no_grad()
def tfmel_spectrogram(waveforms: Tensor, settings: FrontendSettings) -> Tensor:
    """Compute the logarithm of a mel power spectrogram, in float32 under autocast, too.

    Parameters
    ----------
    waveforms : Tensor, shape (batch, num_samples)
        Samples in [-1, 1].

    Returns
    -------
    Tensor, shape (batch, num_frames, num_mel_bins)
        Natural logarithms, before the mean over time is subtracted.
    """
    if num_padded_frames(waveforms.shape[-1], settings) == 0:
        return waveforms.new_zeros(len(waveforms), 0, settings.num_mel_bins)
    device = waveforms.device
    with torch.autocast(device.type, enabled=False):
        samples = functional.pad(prepare_samples(waveforms, settings), (padding(settings),) * 2)
        frames = samples.unfold(-1, settings.frame_length, settings.frame_shift)
        spectrum = torch.fft.rfft(frames * _window(settings, device), n=settings.fft_length)
        parts = torch.view_as_real(spectrum[..., :-1]).square()
        return to_tfmel(torch.add(parts[..., 0], parts[..., 1]), _weights(settings, device))


def to_tfmel(power: Tensor, weights: Tensor) -> Tensor:
    """Return logarithms of mel energies: (..., fft_length / 2) -> (..., num_mel_bins)."""
    mel = power.clamp(FLOOR, CEILING) @ weights
    return (mel.clamp(FLOOR, CEILING) + FLOOR).log()


def tfmel_weights(settings: FrontendSettings) -> Tensor:
    """Return the triangles, (fft_length / 2, num_mel_bins), float64; bin 0 has no weight."""
    nyquist = 0.5 * settings.sample_rate
    freqs = torch.linspace(0.0, nyquist, settings.fft_length // 2, dtype=torch.float64)
    return mel_triangles(freqs, settings)


@lru_cache(maxsize=32)
def _window(settings: FrontendSettings, device: torch.device) -> Tensor:
    return kaldi_window(settings).float().to(device)


@lru_cache(maxsize=32)
def _weights(settings: FrontendSettings, device: torch.device) -> Tensor:
    return tfmel_weights(settings).float().to(device)
