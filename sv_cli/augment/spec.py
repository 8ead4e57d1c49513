"""SpecAugment: stripes of zeros over frames and bins.

Source: Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech
Recognition", Interspeech 2019; masks only, no warping.
"""

import torch
from torch import Tensor

from sv_cli.augment.draw import Stripes


def mask_features(features: Tensor, time: Stripes, freq: Stripes, *, inside: bool) -> Tensor:
    """Set stripes of (batch, num_frames, num_bins) to zero, each utterance its own.

    Zero is the mean of features whose mean was subtracted.

    Parameters
    ----------
    inside : bool
        Stripes lie inside the features; otherwise they may start anywhere and are cut at the end.
    """
    num_frames, num_bins = features.shape[1:]
    frames = _covered(time, num_frames, features.device, inside)
    bins = _covered(freq, num_bins, features.device, inside)
    return features.masked_fill(frames[:, :, None] | bins[:, None, :], 0.0)


def _covered(stripes: Stripes, size: int, device: torch.device, inside: bool) -> Tensor:
    """Return (batch, size) bool: under any stripe."""
    widths = torch.from_numpy(stripes.widths).to(device)
    places = torch.from_numpy(stripes.places).to(device)
    choices = (size - widths).clamp_min(1) if inside else torch.full_like(widths, size)
    starts = (places * choices).long()[:, :, None]
    index = torch.arange(size, device=device)
    return ((index >= starts) & (index < starts + widths[:, :, None])).any(dim=1)
