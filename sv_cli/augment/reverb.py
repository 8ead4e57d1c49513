"""Reverberation: batched FFT convolution with room impulse responses."""

from typing import Literal

import torch
from torch import Tensor

from sv_cli.augment.banks import RirBank

# Spectra of a small bank are kept, which saves a third of the transforms.
_MAX_KEPT_BYTES = 256 * 1024 * 1024


class Reverb:
    """Convolves crops of one length.

    Parameters
    ----------
    bank : RirBank
    num_samples : int
        Length of the crops.
    style : "cut" or "aligned"
        `cut`: linear convolution with a response of energy 1, cut to the length of the crop; the
        delay of the direct path stays. `aligned`: the strongest tap at lag 0, circular at the
        crop's length, and the result at the RMS of the input.

    Source: WeSpeaker, 3D-Speaker and TaoRuijie's ECAPA-TDNN (`cut`); speaker-net (`aligned`).
    """

    def __init__(self, bank: RirBank, num_samples: int, style: Literal["cut", "aligned"]) -> None:
        self._bank, self._num_samples, self._style = bank, num_samples, style
        needed = num_samples + bank.taps.shape[1] - 1
        self.fft_size = num_samples if style == "aligned" else next_fast_size(needed)
        kept = len(bank.taps) * (self.fft_size // 2 + 1) * 8
        every = torch.arange(len(bank.taps), device=bank.taps.device)
        self._spectra = self._spectra_of(every) if kept <= _MAX_KEPT_BYTES else None

    def __call__(self, waveforms: Tensor, rirs: Tensor) -> Tensor:
        """Return (batch, num_samples) convolved with the responses `rirs` (batch,) of the bank."""
        kept = self._spectra
        spectra = self._spectra_of(rirs) if kept is None else kept[rirs]
        product = torch.fft.rfft(waveforms, self.fft_size) * spectra
        wet: Tensor = torch.fft.irfft(product, self.fft_size)[:, : self._num_samples]
        if self._style == "cut":
            return wet
        dry_power, wet_power = (x.square().mean(dim=1, keepdim=True) for x in (waveforms, wet))
        gain: Tensor = (dry_power / wet_power.clamp_min(1e-20)).sqrt()
        return wet * gain

    def _spectra_of(self, rirs: Tensor) -> Tensor:
        responses = self._bank.responses(rirs)
        if self._style == "aligned":
            responses = _strongest_first(responses, self.fft_size)
        spectra: Tensor = torch.fft.rfft(responses, self.fft_size)
        return spectra


def next_fast_size(size: int) -> int:
    """Return the least number of the form 2^a 3^b 5^c, even, that is not below `size`."""
    best = 1 << max(1, (size - 1).bit_length())
    five = 1
    while five < best:
        three = five
        while three < best:
            twos = max(1, (-(-size // three) - 1).bit_length())
            best = min(best, three << twos)
            three *= 3
        five *= 5
    return best


def _strongest_first(responses: Tensor, size: int) -> Tensor:
    """Rotate each response, padded to `size`, so that its strongest tap comes first."""
    padded = torch.nn.functional.pad(responses, (0, size - responses.shape[1]))
    peaks = responses.abs().argmax(dim=1, keepdim=True)
    order = (torch.arange(size, device=padded.device) + peaks) % size
    return padded.gather(1, order)
