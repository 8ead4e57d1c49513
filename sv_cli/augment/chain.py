"""The chain of a run: banks in memory, and what is drawn applied to a batch on the device."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sv_cli.augment.band import limit_band
from sv_cli.augment.banks import Banks
from sv_cli.augment.codec import Coder
from sv_cli.augment.draw import Bands, Draws, Sources, Stock, draw
from sv_cli.augment.noise import add_sources, change_level, normalize_peak
from sv_cli.augment.recordings import Form, find_series
from sv_cli.augment.reverb import Reverb
from sv_cli.augment.settings import AugmentSettings
from sv_cli.augment.sharing import Sharing, load_banks
from sv_cli.augment.spec import mask_features

# A bank larger than this stays in the memory of the machine, not of the accelerator.
_MAX_DEVICE_BYTES = 4 * 1024**3


class Augmenter:
    """What happens to the crops of a batch, and to their features.

    Parameters
    ----------
    settings : AugmentSettings
    banks : Banks
    num_samples : int
        Length of the crops.
    sample_rate : int
        Hz of the crops.
    device : torch.device
        Where the batches are.
    """

    def __init__(
        self,
        settings: AugmentSettings,
        banks: Banks,
        *,
        num_samples: int,
        sample_rate: int,
        device: torch.device,
    ) -> None:
        self.settings, self.device = settings, device
        self._num_samples, self._sample_rate = num_samples, sample_rate
        self.stock = Stock(banks.index.kinds, banks.index.sounds, settings.by_duration)
        num_bytes = 2 * int(banks.index.sounds.sum())
        home = device if num_bytes <= _MAX_DEVICE_BYTES else torch.device("cpu")
        self.sounds, self.rirs = banks.sounds(home), banks.rirs(device)
        self._reverb = (
            Reverb(self.rirs, num_samples, settings.mix.reverb) if len(self.rirs.taps) else None
        )
        self._coder: Coder | None = None
        if settings.codec.prob > 0:
            self._coder = Coder(settings.codec, sample_rate=sample_rate, num_samples=num_samples)

    def draw(self, chances: Tensor) -> Draws:
        """Return what is done to a batch: (batch, NUM_CHANCES) float64 in [0, 1), in memory."""
        return draw(self.settings, self.stock, chances.numpy())

    def waveforms(self, waveforms: Tensor, draws: Draws) -> Tensor:
        """Return (batch, num_samples): reverberation, noise, band, codec, then another level.

        Utterances to which nothing is done keep their bits.
        """
        out = waveforms
        if draws.alters_crops:
            out = waveforms.clone()
        if len(draws.reverb_rows) and self._reverb is not None:
            rows = self._to_device(draws.reverb_rows)
            wet = self._reverb(out[rows], self._to_device(draws.rirs))
            out.index_copy_(0, rows, self._leveled(wet))
        for layer in draws.layers:
            if len(layer.rows):
                self._add(out, layer)
        if len(draws.bands.rows):
            self._limit(out, draws.bands)
        if len(draws.coded.rows) and self._coder is not None:
            rows = self._to_device(draws.coded.rows)
            out.index_copy_(0, rows, self._coder(out[rows], draws.coded))
        if self.settings.gain_prob > 0:
            out = change_level(out, self._to_device(draws.gain_db).to(out.dtype))
        return out

    def features(self, features: Tensor, draws: Draws) -> Tensor:
        """Return (batch, num_frames, num_bins) under SpecAugment."""
        if self.settings.spec.prob == 0:
            return features
        return mask_features(features, draws.time, draws.freq, inside=self.settings.spec.inside)

    def describe(self) -> str:
        """Return one line: what is in the banks, and their memory."""
        counts = ", ".join(f"{kind} {count}" for kind, (_, count) in self.stock.kinds.items())
        size = (self.sounds.num_bytes + self.rirs.num_bytes) / 1024**2
        banks = f"; files: {counts}; {size:.0f} MiB" if counts else ""
        return f"augmentation `{self.settings.chain}`{banks}"

    def _add(self, waveforms: Tensor, layer: Sources) -> None:
        rows, owners = np.unique(layer.rows, return_inverse=True)
        sources = self.sounds.cut(layer.files, layer.places, self._num_samples)
        index = self._to_device(rows)
        noisy = add_sources(
            waveforms[index],
            sources.to(self.device),
            self._to_device(owners.reshape(-1)),
            self._to_device(layer.snr).float(),
            self.settings.mix,
        )
        waveforms.index_copy_(0, index, self._leveled(noisy))

    def _limit(self, waveforms: Tensor, bands: Bands) -> None:
        rows = self._to_device(bands.rows)
        low, high = (self._to_device(hertz).float() for hertz in (bands.low_hz, bands.high_hz))
        limited = limit_band(waveforms[rows], low, high, self._sample_rate)
        waveforms.index_copy_(0, rows, limited)

    def _leveled(self, waveforms: Tensor) -> Tensor:
        return normalize_peak(waveforms, self.settings.mix.peak_floor)

    def _to_device(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)


def load_augmenter(
    settings: AugmentSettings,
    *,
    num_samples: int,
    sample_rate: int,
    device: torch.device,
    audio_root: str | None = None,
    sharing: Sharing | None = None,
) -> Augmenter | None:
    """Return the chain with its banks read, or None where a step has nothing to do.

    Parameters
    ----------
    sharing : Sharing or None
        The other processes that read the same at the same time, where there are any.

    Raises
    ------
    SettingsError
        When a scene that occurs has no recordings to take from, or a directory is missing.
    AudioError
        When a recording is missing or not as it should be.
    """
    if not settings.is_active:
        return None
    form = Form(sample_rate, audio_root)
    banks = load_banks(
        lambda: find_series(settings, form),
        num_samples=num_samples,
        sharing=sharing if settings.scenes else None,
    )
    return Augmenter(
        settings, banks, num_samples=num_samples, sample_rate=sample_rate, device=device
    )
