"""Named front-ends: the way from samples to the input of a model, carried along with it."""

from typing import Any

import torch
from torch import Tensor, nn

from sv_cli import logs
from sv_cli.errors import TableError
from sv_cli.features.cmn import normalize_columns
from sv_cli.features.fbank import Fbank, num_frames
from sv_cli.features.mel import mel_spectrogram, num_centred_frames
from sv_cli.features.settings import FbankSettings, FrontendSettings
from sv_cli.features.tfmel import num_padded_frames, tfmel_spectrogram
from sv_cli.tables.lineage import Lineage

_COUNTS = {"mel": num_centred_frames, "tfmel": num_padded_frames}


class Frontend(nn.Module):
    """Samples -> features of a model, normalised over time.

    Parameters
    ----------
    settings : FrontendSettings
        Dither acts in training mode only.
    """

    def __init__(self, settings: FrontendSettings) -> None:
        super().__init__()
        self.settings = settings
        self._fbank = Fbank(settings)

    @property
    def feat_dim(self) -> int:
        """Columns of the features."""
        return self.settings.feat_dim

    @property
    def sample_rate(self) -> int:
        """Sampling rate in Hz that the waveforms must have."""
        return self.settings.sample_rate

    def num_frames(self, num_samples: int) -> int:
        """Return how many frames a waveform of `num_samples` samples has."""
        return _COUNTS.get(self.settings.kind, num_frames)(num_samples, self.settings)

    def forward(self, waveforms: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return features: (batch, num_samples) in [-1, 1] -> (batch, num_frames, feat_dim)."""
        return self.normalize(self.features(waveforms, generator))

    def features(self, waveforms: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return features before they are normalised, as they are stored on disk."""
        if self.settings.kind == "mel":
            return mel_spectrogram(waveforms, self.settings)
        if self.settings.kind == "tfmel":
            return tfmel_spectrogram(waveforms, self.settings)
        if self.settings.kind == "waveform":
            return waveforms[..., None] * self.settings.sample_scale
        features: Tensor = self._fbank(waveforms, generator)
        return features

    def normalize(self, features: Tensor) -> Tensor:
        """Apply the normalisation alone, for features that were read from disk."""
        return normalize_columns(features, self.settings)


def check_features(features: Lineage, frontend: FrontendSettings) -> None:
    """Refuse features that were not made by the front-end of a model.

    Features of unknown lineage are accepted, which is reported.

    Raises
    ------
    TableError
        Names each setting that differs, with both values.
    """
    if features.command != "make-fbank":
        logs.info(f"the front-end of `{features.source}` is unknown: it is not compared")
        return
    made = FbankSettings(**features.steps[-1].values)
    if frontend.kind != "fbank":
        found = [f"log-Mel features, the model takes those of kind {frontend.kind}"]
    else:
        one, two = (_compared(each) for each in (made, frontend))
        two["dither"] = 0.0  # training alone has dither
        found = [
            f"{name} {one[name]}, not {two[name]}"
            for name in one
            if name in two and one[name] != two[name]
        ]
    if found:
        raise TableError(
            f"`{features.source}` holds features of another front-end than the model's: "
            + "; ".join(found),
            hint="make them again with the settings of the model, or extract from recordings",
        )


def _compared(settings: FbankSettings) -> dict[str, Any]:
    """Return the values that change features; edges in Hz."""
    values = {name: getattr(settings, name) for name in FbankSettings.model_fields}
    values["high_freq"] = settings.high_freq_hz
    unused = {"subtract_mean"}  # the model's own normalisation makes up for it
    if settings.window_type != "blackman":
        unused.add("blackman_coeff")
    if not settings.use_energy:
        unused |= {"raw_energy", "energy_floor"}
    return {name: value for name, value in values.items() if name not in unused}
