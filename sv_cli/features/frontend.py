"""Named front-ends: the way from samples to the input of a model, carried along with it."""

import torch
from torch import Tensor, nn

from sv_cli.features.cmn import subtract_mean
from sv_cli.features.fbank import Fbank
from sv_cli.features.settings import FrontendSettings


class Frontend(nn.Module):
    """Samples -> features of a model, with the mean over time subtracted.

    Parameters
    ----------
    settings : FrontendSettings
        Dither acts in training mode only.
    """

    def __init__(self, settings: FrontendSettings) -> None:
        super().__init__()
        self.settings = settings
        self.features = Fbank(settings)

    @property
    def feat_dim(self) -> int:
        """Columns of the features."""
        return self.settings.feat_dim

    @property
    def sample_rate(self) -> int:
        """Sampling rate in Hz that the waveforms must have."""
        return self.settings.sample_rate

    def forward(self, waveforms: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return features: (batch, num_samples) in [-1, 1] -> (batch, num_frames, feat_dim)."""
        features: Tensor = self.features(waveforms, generator)
        return self.normalize(features)

    def normalize(self, features: Tensor) -> Tensor:
        """Apply the mean normalisation alone, for features that were read from disk."""
        return subtract_mean(features) if self.settings.mean_norm else features
