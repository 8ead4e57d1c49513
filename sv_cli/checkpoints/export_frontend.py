"""Front-ends of plain convolutions and products, for graphs that know no Fourier transform.

The transform is a product with its sines and cosines; tests hold these modules against
`features.frontend`, which is faster.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.errors import CheckpointError
from sv_cli.features.cmn import normalize_columns, subtract_mean
from sv_cli.features.fbank import LOG_FLOOR, kaldi_window, mel_weights
from sv_cli.features.frontend import Frontend
from sv_cli.features.mel import periodic_window, prepare_samples, to_log, triangles
from sv_cli.features.settings import FrontendSettings
from sv_cli.features.tfmel import padding, tfmel_weights, to_tfmel


def exportable_frontend(settings: FrontendSettings) -> nn.Module:
    """Return a module (batch, num_samples) in [-1, 1] -> (batch, num_frames, feat_dim).

    Raises
    ------
    CheckpointError
        When the front-end has options that no named one has.
    """
    if settings.kind == "mel":
        return CentredMel(settings)
    if settings.kind == "tfmel":
        return PaddedMel(settings)
    if settings.kind == "waveform":
        return Frontend(settings)
    if not settings.snip_edges or not settings.use_log or not settings.use_power:
        raise CheckpointError(
            "front-ends with mirrored edges, without logarithm or of magnitudes are not exported"
        )
    return KaldiFbank(settings)


class KaldiFbank(nn.Module):
    """`features.fbank` without dither."""

    def __init__(self, settings: FrontendSettings) -> None:
        super().__init__()
        self.settings = settings
        length = settings.frame_length
        emphasis = torch.eye(length, dtype=torch.float64)
        emphasis[range(1, length), range(length - 1)] -= settings.preemphasis
        emphasis[0, 0] -= settings.preemphasis
        window = (kaldi_window(settings) * settings.sample_scale)[:, None] * emphasis
        waves = fourier_basis(length, settings.fft_length, settings.fft_length // 2)
        self.frames: Tensor
        self.register_buffer("frames", torch.eye(length)[:, None])
        self.window: Tensor
        self.register_buffer("window", window.T.float())
        self.basis: Tensor
        self.register_buffer("basis", (waves @ window).T.float())
        self.mel: Tensor
        self.register_buffer("mel", mel_weights(settings).float())

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return features (batch, num_frames, feat_dim)."""
        settings = self.settings
        frames = functional.conv1d(waveforms[:, None], self.frames, stride=settings.frame_shift)
        frames = frames.transpose(1, 2)
        if settings.remove_dc_offset:
            frames = frames - frames.mean(dim=-1, keepdim=True)
        feats = (_power(frames @ self.basis) @ self.mel).clamp_min(LOG_FLOOR).log()
        if settings.use_energy:
            raw = frames * settings.sample_scale if settings.raw_energy else frames @ self.window
            floor = max(LOG_FLOOR, settings.energy_floor)
            energy = raw.square().sum(dim=-1, keepdim=True).clamp_min(floor).log()
            feats = torch.cat([energy, feats], dim=-1)
        if settings.subtract_mean:
            feats = subtract_mean(feats)
        return normalize_columns(feats, settings)


class CentredMel(nn.Module):
    """`features.mel`."""

    def __init__(self, settings: FrontendSettings) -> None:
        super().__init__()
        self.settings = settings
        size, cpu = settings.fft_length, torch.device("cpu")
        before = (size - settings.frame_length) // 2
        after = size - settings.frame_length - before
        window = functional.pad(periodic_window(settings, cpu).double(), (before, after))
        waves = fourier_basis(size, size, size // 2 + 1)
        self.basis: Tensor
        self.register_buffer("basis", (waves * window).float()[:, None])
        self.mel: Tensor
        self.register_buffer("mel", triangles(settings, cpu))

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return features (batch, num_frames, feat_dim)."""
        settings = self.settings
        samples = prepare_samples(waveforms, settings)[:, None]
        half = settings.fft_length // 2
        padded = functional.pad(samples, (half, half), mode=settings.pad_mode)
        parts = functional.conv1d(padded, self.basis, stride=settings.frame_shift)
        feats = to_log(_power(parts.transpose(1, 2)) @ self.mel, settings)
        return normalize_columns(feats, settings)


class PaddedMel(nn.Module):
    """`features.tfmel`."""

    def __init__(self, settings: FrontendSettings) -> None:
        super().__init__()
        self.settings = settings
        self.basis: Tensor
        self.register_buffer("basis", windowed_basis(settings).float()[:, None])
        self.mel: Tensor
        self.register_buffer("mel", tfmel_weights(settings).float())

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return features (batch, num_frames, feat_dim)."""
        settings = self.settings
        samples = prepare_samples(waveforms, settings)[:, None]
        parts = functional.conv1d(
            samples, self.basis, stride=settings.frame_shift, padding=padding(settings)
        )
        feats = to_tfmel(_power(parts.transpose(1, 2)), self.mel)
        return normalize_columns(feats, settings)


def windowed_basis(settings: FrontendSettings) -> Tensor:
    """Return windowed cosines over sines, (fft_length, frame_length), float64, of kind tfmel."""
    waves = fourier_basis(settings.frame_length, settings.fft_length, settings.fft_length // 2)
    return waves * kaldi_window(settings)


def fourier_basis(length: int, size: int, num_freqs: int) -> Tensor:
    """Return cosines over sines, (2 num_freqs, length), float64, of a transform of `size`."""
    turn = torch.arange(num_freqs)[:, None] * torch.arange(length) % size
    angle = turn.double() * (2.0 * math.pi / size)
    return torch.cat([angle.cos(), angle.sin()])


def _power(parts: Tensor) -> Tensor:
    real, imaginary = parts.square().chunk(2, dim=-1)
    return real + imaginary
