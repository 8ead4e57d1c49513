"""Kaldi's log-Mel filter banks, many waveforms at once, on the CPU or the GPU.

The arithmetic keeps the order of Kaldi's `feature-window.cc` (offset, energy, pre-emphasis,
window), so that digital silence and constant signals come out at the same floor.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor, nn

from sv_cli.features.settings import FbankSettings, FrameSettings

LOG_FLOOR = float(torch.finfo(torch.float32).eps)
# Frames worked on at once by one CPU thread: the frames and their spectra stay in its L2 cache.
_FRAMES_IN_CACHE = 384
_BINS_IN_BLOCK = 16
_FRAMES_OF_ENERGY = 4096


def num_frames(num_samples: int, settings: FrameSettings) -> int:
    """Return how many frames a waveform of `num_samples` samples has.

    Examples
    --------
    >>> [num_frames(n, FrameSettings()) for n in (399, 400, 559, 560)]
    [0, 1, 1, 2]
    >>> [num_frames(n, FrameSettings(snip_edges=False)) for n in (79, 80, 400)]
    [0, 1, 3]
    """
    shift = settings.frame_shift
    if not settings.snip_edges:
        return (num_samples + shift // 2) // shift
    if num_samples < settings.frame_length:
        return 0
    return 1 + (num_samples - settings.frame_length) // shift


@torch.no_grad()
def fbank(
    waveforms: Tensor, settings: FbankSettings, *, generator: torch.Generator | None = None
) -> Tensor:
    """Compute log-Mel filter banks.

    Parameters
    ----------
    waveforms : Tensor, shape (..., num_samples)
        Samples in [-1, 1]; `settings.sample_scale` brings them to the scale of the features.
    settings : FbankSettings
        What Kaldi's options of the same names say.
    generator : torch.Generator, optional
        Source of the dither.

    Returns
    -------
    Tensor, shape (..., num_frames, feat_dim)
        float32 features; `num_frames` is 0 where the waveform is too short.

    Source: Kaldi, src/feat/feature-fbank.cc and feature-window.cc.
    """
    frames = _frames(waveforms.float(), settings)
    rows = frames.flatten(end_dim=-3) if frames.dim() > 3 else frames
    rows = rows.unsqueeze(0) if rows.dim() == 2 else rows
    features = frames.new_empty(*rows.shape[:2], settings.feat_dim)
    with torch.autocast(frames.device.type, enabled=False):
        for part in _parts(rows):
            _fill(features[part], rows[part], settings, generator)
    if settings.subtract_mean and features.numel():
        features -= features.mean(dim=1, keepdim=True)
    return features.view(*frames.shape[:-1], settings.feat_dim)


@torch.no_grad()
def log_energy(waveforms: Tensor, settings: FrameSettings) -> Tensor:
    """Return the raw log energy of each frame: (..., num_samples) -> (..., num_frames)."""
    frames = _frames(waveforms.float(), settings)
    energy = frames.new_empty(frames.shape[:-1])
    for start in range(0, frames.shape[-2], _FRAMES_OF_ENERGY):  # frames overlap: bounded memory
        part = frames[..., start : start + _FRAMES_OF_ENERGY, :]
        scaled = _centred(part, settings) * settings.sample_scale
        energy[..., start : start + _FRAMES_OF_ENERGY] = scaled.square_().sum(dim=-1)
    return energy.clamp_min_(LOG_FLOOR).log_()


class Fbank(nn.Module):
    """`fbank` as a module: (..., num_samples) -> (..., num_frames, feat_dim).

    Dither acts in training mode only.
    """

    def __init__(self, settings: FbankSettings) -> None:
        super().__init__()
        self.settings = settings
        self._still = settings.model_copy(update={"dither": 0.0})

    def forward(self, waveforms: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the features of `waveforms`."""
        settings = self.settings if self.training else self._still
        return fbank(waveforms, settings, generator=generator)


def _frames(waveforms: Tensor, settings: FrameSettings) -> Tensor:
    """Return overlapping frames as a view: (..., num_samples) -> (..., num_frames, length)."""
    count = num_frames(waveforms.shape[-1], settings)
    length, shift = settings.frame_length, settings.frame_shift
    if count == 0:
        return waveforms.new_empty(*waveforms.shape[:-1], 0, length)
    if not settings.snip_edges:
        waveforms = _mirror_edges(waveforms, count, settings)
    return waveforms.unfold(-1, length, shift)[..., :count, :]


def _mirror_edges(waveforms: Tensor, count: int, settings: FrameSettings) -> Tensor:
    """Continue a waveform at both ends by its mirror image, as often as a frame needs.

    samples       a b c d
    continued   b a a b c d d c b a a ...
    """
    num_samples, length, shift = waveforms.shape[-1], settings.frame_length, settings.frame_shift
    first = shift // 2 - length // 2
    end = first + (count - 1) * shift + length
    places = torch.cat([torch.arange(first, 0), torch.arange(num_samples, end)])
    places = places.remainder(2 * num_samples)
    places = torch.where(places < num_samples, places, 2 * num_samples - 1 - places)
    edges = waveforms[..., places.to(waveforms.device)]
    before = max(-first, 0)
    middle = waveforms[..., max(first, 0) : end]
    return torch.cat([edges[..., :before], middle, edges[..., before:]], dim=-1)


def _parts(rows: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield slices (rows, frames) that a CPU's cache holds; everything at once elsewhere."""
    num_rows, count = rows.shape[:2]
    if not num_rows or not count:
        return
    if rows.device.type != "cpu":
        yield slice(None), slice(None)
        return
    limit = _FRAMES_IN_CACHE * torch.get_num_threads()
    step = -(-count // -(-count // limit))  # parts of about equal length
    for row in range(0, num_rows, max(1, limit // count)):
        for frame in range(0, count, step):
            yield slice(row, row + max(1, limit // count)), slice(frame, frame + step)


def _centred(frames: Tensor, settings: FrameSettings) -> Tensor:
    """Return frames without their means, still in the scale of the waveform."""
    if settings.remove_dc_offset:
        return frames - frames.mean(dim=-1, keepdim=True)
    return frames


def _fill(
    features: Tensor,
    frames: Tensor,
    settings: FbankSettings,
    generator: torch.Generator | None,
) -> None:
    """Write the features of `frames` (rows, frames, length) into `features`."""
    if settings.dither:
        noise = torch.empty(frames.shape, dtype=frames.dtype, device=frames.device)
        noise.normal_(generator=generator).mul_(settings.dither / settings.sample_scale)
        frames = noise.add_(frames)
    centred = _centred(frames, settings)
    windowed = _windowed(centred, settings)
    if settings.use_energy:
        scaled = centred * settings.sample_scale if settings.raw_energy else windowed
        features[..., 0] = _floored_energy(scaled, settings)
    mel = _mel_energies(windowed.view(-1, settings.fft_length), settings)
    if settings.use_log:
        mel.clamp_min_(LOG_FLOOR).log_()
    features[..., int(settings.use_energy) :] = mel.view(*frames.shape[:-1], -1)


def _windowed(centred: Tensor, settings: FbankSettings) -> Tensor:
    """Apply scale, pre-emphasis and window; pad with zeros to the length of the transform."""
    window, delayed_window = _windows(settings, centred.device)
    padded = centred.new_zeros(*centred.shape[:-1], settings.fft_length)
    inside = padded[..., : settings.frame_length]
    torch.mul(centred, window, out=inside)
    if settings.preemphasis:
        # window[t] (x[t] - c x[t-1]), where x[-1] is x[0]
        inside[..., 1:].addcmul_(centred[..., :-1], delayed_window[1:])
        inside[..., :1].addcmul_(centred[..., :1], delayed_window[:1])
    return padded


def _mel_energies(windowed: Tensor, settings: FbankSettings) -> Tensor:
    """Return the mel-weighted spectrum: (frames, fft_length) -> (frames, num_mel_bins)."""
    parts = torch.view_as_real(torch.fft.rfft(windowed)).square_()
    power = torch.add(parts[..., 0], parts[..., 1])
    if not settings.use_power:
        power.sqrt_()
    blocks = _mel_blocks(settings, power.device)
    mel = power.new_empty(len(power), settings.num_mel_bins, dtype=blocks[0][2].dtype)
    for freqs, bins, weights in blocks:
        torch.mm(power[:, freqs].to(weights.dtype), weights, out=mel[:, bins])
    return mel.float()


def _floored_energy(samples: Tensor, settings: FbankSettings) -> Tensor:
    energy = samples.square().sum(dim=-1).clamp_min_(LOG_FLOOR).log_()
    return energy.clamp_min_(math.log(settings.energy_floor)) if settings.energy_floor else energy


@lru_cache(maxsize=32)
def _windows(settings: FbankSettings, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the window times the scale, and that times minus the pre-emphasis coefficient.

    A scale that is a power of two changes no bit of the result.
    """
    window = kaldi_window(settings) * settings.sample_scale
    delayed = -settings.preemphasis * window
    return window.float().to(device), delayed.float().to(device)


def kaldi_window(settings: FbankSettings) -> Tensor:
    """Return the window of a frame: (frame_length,), float64."""
    length = settings.frame_length
    turn = torch.arange(length, dtype=torch.float64) * (2.0 * math.pi / (length - 1))
    if settings.window_type == "rectangular":
        return torch.ones_like(turn)
    if settings.window_type == "sine":
        return torch.sin(0.5 * turn)
    if settings.window_type == "hamming":
        return 0.54 - 0.46 * torch.cos(turn)
    if settings.window_type == "blackman":
        constant = settings.blackman_coeff
        return constant - 0.5 * torch.cos(turn) + (0.5 - constant) * torch.cos(2.0 * turn)
    hanning = 0.5 - 0.5 * torch.cos(turn)
    return hanning**0.85 if settings.window_type == "povey" else hanning


@lru_cache(maxsize=32)
def _mel_blocks(settings: FbankSettings, device: torch.device) -> list[tuple[slice, slice, Tensor]]:
    """Return the mel weights as blocks: frequencies, mel bins, weights (frequencies, bins).

    A triangle covers few frequencies, so most of the whole matrix is zero: a CPU saves more than
    half of the products by blocks of 16 bins; a GPU is faster with one, in float64, which the
    setting of TF32 does not touch.
    """
    weights = mel_weights(settings)
    step = _BINS_IN_BLOCK if device.type == "cpu" else settings.num_mel_bins
    dtype = torch.float64 if device.type == "cuda" else torch.float32
    blocks = []
    for start in range(0, settings.num_mel_bins, step):
        bins = slice(start, min(start + step, settings.num_mel_bins))
        used = weights[:, bins].sum(dim=1).nonzero().flatten()
        freqs = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        blocks.append((freqs, bins, weights[freqs, bins].contiguous().to(device, dtype)))
    return blocks


def mel_weights(settings: FbankSettings) -> Tensor:
    """Return Kaldi's triangles over the frequencies: (fft_length / 2, num_mel_bins), float64."""
    freqs = torch.arange(settings.fft_length // 2, dtype=torch.float64)  # without the Nyquist one
    return mel_triangles(freqs * settings.sample_rate / settings.fft_length, settings)


def mel_triangles(freqs: Tensor, settings: FbankSettings) -> Tensor:
    """Return triangles over mel at frequencies in Hz: (num_freqs,) -> (num_freqs, num_mel_bins)."""
    mel = _to_mel(freqs)[:, None]
    edges = _to_mel(torch.tensor([settings.low_freq, settings.high_freq_hz], dtype=torch.float64))
    points = torch.linspace(
        float(edges[0]), float(edges[1]), settings.num_mel_bins + 2, dtype=torch.float64
    )
    left, centre, right = points[:-2], points[1:-1], points[2:]
    weights = torch.minimum((mel - left) / (centre - left), (right - mel) / (right - centre))
    return weights.clamp_min(0.0)


def _to_mel(freq: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(freq / 700.0)
