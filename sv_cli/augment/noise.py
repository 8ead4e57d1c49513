"""Recordings added to speech at a signal-to-noise ratio."""

import torch
from torch import Tensor

from sv_cli.augment.settings import MixSettings

_NO_DIVISION_BY_ZERO = 1e-14


def add_sources(
    speech: Tensor, sources: Tensor, owners: Tensor, snr: Tensor, settings: MixSettings
) -> Tensor:
    """Return speech with recordings added.

    Parameters
    ----------
    speech : (batch, num_samples) float32
    sources : (num_sources, num_samples) float32
    owners : (num_sources,) int64
        Utterance that each belongs to, ascending; every utterance has at least one.
    snr : (num_sources,) float32
        Ratio in dB to the power of the speech: of each source, or with `babble` = `sum` of the
        sum of an utterance's sources, which then all bring the same number.

    Source: WeSpeaker's and 3D-Speaker's processors (`add`), speaker-net's AddNoise and AddBabble
    (`scaled`, the sum of a babble).
    """
    if settings.babble == "sum":
        sources = torch.zeros_like(speech).index_add_(0, owners, sources)
        snr = speech.new_zeros(len(speech)).index_copy_(0, owners, snr)
        owners = torch.arange(len(speech), device=speech.device)
    power = speech.square().mean(dim=1)
    source_power = sources.square().mean(dim=1)
    if settings.style == "scaled":
        ratio = 10.0 ** (snr / 20.0)
        level = power[owners].sqrt() / (1.0 + ratio)
        weights = level / (source_power.sqrt() + _NO_DIVISION_BY_ZERO)
        # Several sources share one level of speech only where they were summed.
        first = speech.new_zeros(len(speech)).index_copy_(0, owners, ratio / (1.0 + ratio))
        speech = speech * first[:, None]
    else:
        floor = settings.power_floor
        wanted = (power[owners] + floor) / 10.0 ** (snr / 10.0)
        weights = (wanted / (source_power + floor)).sqrt()
    if len(sources) == len(speech):
        return torch.addcmul(speech, sources, weights[:, None])
    return speech.index_add(0, owners, sources * weights[:, None])


def normalize_peak(waveforms: Tensor, floor: float) -> Tensor:
    """Divide each by its highest magnitude plus `floor`; 0 leaves them as they are."""
    if floor == 0.0:
        return waveforms
    return waveforms / (waveforms.abs().amax(dim=1, keepdim=True) + floor)


def change_level(waveforms: Tensor, gain_db: Tensor) -> Tensor:
    """Scale each of (batch, num_samples) by (batch,) dB."""
    return waveforms * (10.0 ** (gain_db / 20.0))[:, None]
