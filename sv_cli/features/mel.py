"""Mel spectrograms of centred frames: the front-ends of speaker-net, TaoRuijie and SpeechBrain.

Unlike Kaldi's, frames are centred on multiples of the shift, windows are periodic, pre-emphasis
runs over the whole waveform and the triangles are drawn over frequency, not over mel.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from sv_cli.features.settings import FrontendSettings

_LOG_OFFSET = 1e-6
_DECIBEL_FLOOR, _DECIBEL_RANGE = 1e-10, 80.0
_DEVIATION_EPS = {"mel": 1e-6, "tfmel": 1e-8}  # added to the deviation of `signal_norm`


def num_centred_frames(num_samples: int, settings: FrontendSettings) -> int:
    """Return how many frames a waveform has; 0 where it is too short to be mirrored.

    Examples
    --------
    >>> from sv_cli.features.settings import FRONTENDS
    >>> [num_centred_frames(n, FRONTENDS["speaker-net"]) for n in (256, 257, 32240)]
    [0, 2, 202]
    """
    if num_samples <= settings.fft_length // 2:
        return 0
    return 1 + num_samples // settings.frame_shift


@torch.no_grad()
def mel_spectrogram(waveforms: Tensor, settings: FrontendSettings) -> Tensor:
    """Compute the logarithm of a mel power spectrogram.

    Parameters
    ----------
    waveforms : Tensor, shape (batch, num_samples)
        Samples in [-1, 1].

    Returns
    -------
    Tensor, shape (batch, num_frames, num_mel_bins)
        Natural logarithms (style htk) or decibels (style speechbrain).
    """
    if num_centred_frames(waveforms.shape[-1], settings) == 0:
        return waveforms.new_zeros(len(waveforms), 0, settings.num_mel_bins)
    device = waveforms.device
    samples = prepare_samples(waveforms, settings)
    with torch.autocast(device.type, enabled=False):
        spectrum = torch.stft(
            samples,
            settings.fft_length,
            settings.frame_shift,
            settings.frame_length,
            window=periodic_window(settings, device),
            pad_mode=settings.pad_mode,
            return_complex=True,
        )
        parts = torch.view_as_real(spectrum.transpose(1, 2)).square()
        power = torch.add(parts[..., 0], parts[..., 1])
        mel = power @ triangles(settings, device)
    return to_log(mel, settings)


def to_log(mel: Tensor, settings: FrontendSettings) -> Tensor:
    """Return mel energies (batch, num_frames, num_mel_bins) as logarithms or decibels."""
    if settings.mel_style == "htk":
        return (mel + _LOG_OFFSET).log()
    decibels = mel.clamp_min(_DECIBEL_FLOOR).log10() * 10.0
    loudest = decibels.amax(dim=(1, 2), keepdim=True)
    return torch.maximum(decibels, loudest - _DECIBEL_RANGE)


def prepare_samples(waveforms: Tensor, settings: FrontendSettings) -> Tensor:
    """Return scaled, normalised and pre-emphasised waveforms: (batch, num_samples), same out."""
    samples = waveforms.float() * settings.sample_scale
    if settings.signal_norm:
        samples = samples - samples.mean(dim=1, keepdim=True)
        deviation = samples.square().mean(dim=1, keepdim=True).sqrt()
        samples = samples / (deviation + _DEVIATION_EPS[settings.kind])
    if not settings.preemphasis:
        return samples
    before = samples[:, 1:2] if settings.preemphasis_start == "reflect" else samples[:, :1] * 0
    return samples - settings.preemphasis * torch.cat([before, samples[:, :-1]], dim=1)


@lru_cache(maxsize=32)
def periodic_window(settings: FrontendSettings, device: torch.device) -> Tensor:
    """Return the window of a frame: (frame_length,)."""
    length = settings.frame_length
    constant = 0.54 if settings.window_type == "hamming" else 0.5
    turn = torch.arange(length, dtype=torch.float64) * (2.0 * math.pi / length)
    return (constant - (1.0 - constant) * torch.cos(turn)).float().to(device)


@lru_cache(maxsize=32)
def triangles(settings: FrontendSettings, device: torch.device) -> Tensor:
    """Return weights over frequency, shape (fft_length / 2 + 1, num_mel_bins)."""
    low, high = (2595.0 * math.log10(1.0 + f / 700.0) for f in _band(settings))
    mel = torch.linspace(low, high, settings.num_mel_bins + 2, dtype=torch.float64)
    points = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    nyquist = settings.sample_rate / 2
    freqs = torch.linspace(0, nyquist, settings.fft_length // 2 + 1, dtype=torch.float64)[:, None]
    width = points.diff()
    rise, fall = width[:-1], width[1:]
    if settings.mel_style == "speechbrain":
        fall = rise  # its triangles are symmetric over frequency
    centre = points[1:-1]
    weights = torch.minimum(1.0 + (freqs - centre) / rise, 1.0 - (freqs - centre) / fall)
    return weights.clamp_min(0.0).float().to(device)


def _band(settings: FrontendSettings) -> tuple[float, float]:
    return settings.low_freq, settings.high_freq_hz
