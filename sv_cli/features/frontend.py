"""Named front-ends: the way from samples to the input of a model, carried along with it."""

import torch
from torch import Tensor, nn

from sv_cli.features.cmn import normalize_columns
from sv_cli.features.fbank import Fbank, num_frames
from sv_cli.features.mel import mel_spectrogram, num_centred_frames
from sv_cli.features.settings import FrontendSettings
from sv_cli.features.tfmel import num_padded_frames, tfmel_spectrogram

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
