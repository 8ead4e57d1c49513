"""The chain of a run: banks in memory, and what is drawn applied to a batch on the device."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sv_cli.augment.band import limit_band
from sv_cli.augment.banks import RirBank, SoundBank, read_files
from sv_cli.augment.codec import Coder
from sv_cli.augment.draw import Bands, Draws, Sources, Stock, draw
from sv_cli.augment.noise import add_sources, change_level, normalize_peak
from sv_cli.augment.reverb import Reverb
from sv_cli.augment.settings import AugmentSettings
from sv_cli.augment.spec import mask_features
from sv_cli.errors import SettingsError, TableError

Recordings = Mapping[str, NDArray[np.int16]]

# A bank larger than this stays in the memory of the machine, not of the accelerator.
_MAX_DEVICE_BYTES = 4 * 1024**3


class Augmenter:
    """What happens to the crops of a batch, and to their features.

    Parameters
    ----------
    settings : AugmentSettings
    files : mapping of kind to recordings
        What `load_files` returned.
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
        files: Mapping[str, Recordings],
        *,
        num_samples: int,
        sample_rate: int,
        device: torch.device,
    ) -> None:
        self.settings, self.device = settings, device
        self._num_samples, self._sample_rate = num_samples, sample_rate
        kinds: dict[str, tuple[int, int]] = {}
        sounds = _numbered(files, ("noise", "music", "speech", "room_noise"), kinds)
        rirs = _numbered(files, ("rir", "room_rir"), kinds)
        self.stock = Stock(kinds)
        num_bytes = sum(2 * len(waveform) for waveform in sounds)
        home = device if num_bytes <= _MAX_DEVICE_BYTES else torch.device("cpu")
        self.sounds = SoundBank.join(sounds, num_samples=num_samples, device=home)
        self.rirs = RirBank.join(rirs, num_samples=num_samples, device=device)
        self._reverb = Reverb(self.rirs, num_samples, settings.mix.reverb) if rirs else None
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
        banks = f"; files: {counts}; {size:.0f} MiB a process" if counts else ""
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
) -> Augmenter | None:
    """Return the chain with its banks read, or None where a step has nothing to do.

    Raises
    ------
    SettingsError
        When a scene that occurs has no recordings to take from.
    TableError, AudioError
        When a directory or recording is missing or not as it should be.
    """
    if not settings.is_active:
        return None
    files = load_files(settings, sample_rate=sample_rate, audio_root=audio_root)
    return Augmenter(
        settings, files, num_samples=num_samples, sample_rate=sample_rate, device=device
    )


def load_files(
    settings: AugmentSettings, *, sample_rate: int, audio_root: str | None = None
) -> dict[str, Recordings]:
    """Return kind -> utterance -> int16 samples, of the kinds that occur in the scenes."""
    needed = _needed_kinds(settings)
    shelves = _Shelves(settings, sample_rate, audio_root)
    found = {kind: shelves.files(kind) for kind in needed}
    files = {kind: recordings for kind, recordings in found.items() if recordings}
    if "noise" in settings.scenes and not any(kind in files for kind in settings.pool):
        _refuse(settings, settings.pool[0], "noise")
    for kind, scene in needed.items():
        if kind not in files and scene != "noise":
            _refuse(settings, kind, scene)
    return files


class _Shelves:
    """The directories of the settings, each read once."""

    def __init__(self, settings: AugmentSettings, sample_rate: int, audio_root: str | None) -> None:
        self._settings, self._sample_rate, self._audio_root = settings, sample_rate, audio_root
        self._read: dict[tuple[str, bool], Recordings] = {}

    def files(self, kind: str) -> Recordings:
        """Return the recordings of a kind, none where no directory is set."""
        is_rir = kind in ("rir", "room_rir")
        plain: Literal["rir", "noise"] = "rir" if is_rir else "noise"
        own = getattr(self._settings, kind)
        if kind in ("room_rir", "room_noise") and not own:
            return self.files(plain)
        if own:
            return self._directory(own, kind, is_rir)
        if is_rir or not self._settings.musan:
            return {}
        every = self._directory(self._settings.musan, "musan", False)
        return {utt: samples for utt, samples in every.items() if utt.startswith(kind)}

    def _directory(self, path: str, name: str, is_rir: bool) -> Recordings:
        key = (path, is_rir)
        if key not in self._read:
            try:
                self._read[key] = read_files(
                    path,
                    sample_rate=self._sample_rate,
                    audio_root=self._audio_root,
                    full_scale=is_rir,
                )
            except TableError as error:
                message = f"`augment.{name}`: {error.message}"
                raise SettingsError(message, hint=error.hint) from error
        return self._read[key]


def _needed_kinds(settings: AugmentSettings) -> dict[str, str]:
    """Return kind -> a scene that takes from it; `noise` only where no scene insists on it."""
    kinds_of = {
        "noise": settings.pool,
        "music": ("music",),
        "babble": ("speech",),
        "television": ("speech", "music"),
        "reverb": ("rir",),
        "room": ("room_rir",) + (("room_noise",) if settings.room_noise_prob > 0 else ()),
    }
    return {kind: scene for scene in settings.scenes for kind in kinds_of[scene]}


def _refuse(settings: AugmentSettings, kind: str, scene: str) -> None:
    raise SettingsError(
        f"`augment.{kind}`: no recordings for scene `{scene}` of chain `{settings.chain}`",
        hint=f"give a data directory, or set `augment.weights.{scene} = 0`",
    )


def _numbered(
    files: Mapping[str, Recordings], kinds: tuple[str, ...], numbers: dict[str, tuple[int, int]]
) -> list[NDArray[np.int16]]:
    """Return the recordings of all kinds, each once, and note where each kind lies."""
    waveforms: list[NDArray[np.int16]] = []
    seen: dict[int, tuple[int, int]] = {}
    for kind in kinds:
        recordings = files.get(kind)
        if not recordings:
            continue
        key = id(next(iter(recordings.values())))
        if key not in seen:
            seen[key] = (len(waveforms), len(recordings))
            waveforms.extend(recordings.values())
        numbers[kind] = seen[key]
    return waveforms
