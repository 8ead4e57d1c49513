"""Another speed for batches of waveforms: tempo and pitch change, as by sox's `speed`."""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# A windowed sinc 80 dB down outside, whose slope takes 8 % of the band.
_ATTENUATION_DB = 80.0
_SLOPE = 0.08


def num_input_samples(num_samples: int, factor: float) -> int:
    """Return how many samples `change_speed_batch` takes to give `num_samples`."""
    ratio, blocks, context = _plan(num_samples, factor)
    return ratio.numerator * blocks + 2 * context


def num_context_samples(factor: float) -> int:
    """Return how many samples before the first one played the filter looks at."""
    return _context(Fraction(str(factor)))


def change_speed_batch(waveforms: Tensor, factor: float, num_samples: int) -> Tensor:
    """Play waveforms `factor` times as fast.

    Parameters
    ----------
    waveforms : (batch, num_input_samples(num_samples, factor)) float32
        The first sample played is the one after `num_context_samples(factor)`.
    factor : float
        0.9 plays slower and deeper; hundredths are exact.
    num_samples : int
        Samples that come out.

    Returns
    -------
    (batch, num_samples) float32
        Sample n is the band-limited waveform at n x factor.
    """
    ratio, blocks, _ = _plan(num_samples, factor)
    kernel = _kernel(ratio).to(waveforms)
    waveforms = waveforms[:, : num_input_samples(num_samples, factor)]
    outputs = filter_blocks(waveforms, kernel, ratio.numerator, by_product=waveforms.is_cuda)
    return outputs[:, :blocks].reshape(len(waveforms), -1)[:, :num_samples]


def change_speed_whole(waveforms: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Play recordings from end to end, as training plays crops of them.

    Parameters
    ----------
    waveforms : (channels, num_samples) float32
    factor : float
        0.9 plays slower and deeper.

    Returns
    -------
    (channels, round(num_samples / factor)) float32
        At least one sample.
    """
    count = max(1, round(waveforms.shape[1] / factor))
    before = num_context_samples(factor)
    after = max(0, num_input_samples(count, factor) - before - waveforms.shape[1])
    padded = torch.nn.functional.pad(torch.from_numpy(waveforms), (before, after))
    played: NDArray[np.float32] = change_speed_batch(padded, factor, count).numpy()
    return played


def filter_blocks(waveforms: Tensor, kernel: Tensor, step: int, *, by_product: bool) -> Tensor:
    """Return (batch, blocks, phases): every phase of the kernel at every `step` samples.

    A processor is faster by convolution; on a GPU that may be rounded to TF32's 10 bits, which a
    product of matrices is not.

    Parameters
    ----------
    waveforms : (batch, num_samples) float32
    kernel : (phases, 1, taps) float32
    """
    if by_product:
        return waveforms.unfold(-1, kernel.shape[-1], step) @ kernel[:, 0].T
    return torch.nn.functional.conv1d(waveforms[:, None], kernel, stride=step).transpose(1, 2)


def play(waveforms: Tensor, speeds: Tensor, factors: Sequence[float], num_samples: int) -> Tensor:
    """Return a batch at its speeds, all of one length.

    Parameters
    ----------
    waveforms : (batch, longest) float32
        Each as many samples as its factor needs, zeros appended.
    speeds : (batch,) int64, in memory
        Number of the factor of each.
    factors : sequence of float
        The first is 1.0.
    num_samples : int
        Samples that come out.
    """
    if len(factors) == 1:
        return waveforms
    missing = max(0, num_samples - waveforms.shape[1])  # where all are played slower
    played = torch.nn.functional.pad(waveforms, (0, missing))[:, :num_samples].clone()
    for number, factor in enumerate(factors[1:], start=1):
        rows = torch.nonzero(speeds == number)[:, 0].to(waveforms.device)
        if len(rows):
            played[rows] = change_speed_batch(waveforms[rows], factor, num_samples)
    return played


def _plan(num_samples: int, factor: float) -> tuple[Fraction, int, int]:
    """Return the ratio, the number of blocks of `denominator` outputs, and the context."""
    ratio = Fraction(str(factor))
    return ratio, -(-num_samples // ratio.denominator), _context(ratio)


def _context(ratio: Fraction) -> int:
    width = (_ATTENUATION_DB - 7.95) / (14.36 * _SLOPE / 2.0)  # Kaiser's formula, in samples
    return math.ceil(width / 2.0 * max(1.0, float(ratio)))


@lru_cache(maxsize=16)
def _kernel(ratio: Fraction) -> Tensor:
    """Return (denominator, 1, taps): the sinc that gives each output of a block."""
    context = _context(ratio)
    phases = torch.arange(ratio.denominator, dtype=torch.float64) * float(ratio)
    taps = torch.arange(2 * context + ratio.numerator, dtype=torch.float64) - context
    distance = taps[None, :] - phases[:, None]
    cutoff = (1.0 - _SLOPE / 2.0) / max(1.0, float(ratio))
    beta = 0.1102 * (_ATTENUATION_DB - 8.7)
    inside = (1.0 - (distance / context).square()).clamp_min(0.0)
    window = torch.special.i0(beta * inside.sqrt())  # its height falls out below
    window = torch.where(distance.abs() <= context, window, 0.0)
    kernel = cutoff * torch.special.sinc(cutoff * distance) * window
    kernel = kernel / kernel.sum(dim=1, keepdim=True)  # a constant stays what it is
    blocks: Tensor = kernel[:, None, :].float()
    return blocks
