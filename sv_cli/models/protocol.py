"""What every network of the zoo is: features in, one embedding an utterance out."""

from abc import ABC, abstractmethod

from pydantic import Field
from torch import Tensor, nn

from sv_cli.errors import ShapeError
from sv_cli.settings.model import Settings


class EncoderSettings(Settings):
    """What all networks let the user choose."""

    feat_dim: int = Field(80, ge=1, description="features a frame")
    embedding_dim: int = Field(192, ge=1, description="size of the embedding")


class SpeakerEncoder(nn.Module, ABC):
    """Base of all networks.

    Attributes
    ----------
    feat_dim : int
        Features a frame (mel bins).
    embedding_dim : int
        Size of the embedding.
    min_frames : int
        Fewest frames that give a finite embedding.
    """

    feat_dim: int
    embedding_dim: int
    min_frames: int

    @abstractmethod
    def forward(self, feats: Tensor) -> Tensor:
        """Return embeddings of a batch of equally long utterances.

        Parameters
        ----------
        feats : (batch, frames, feat_dim) float
            Features as the model's front-end makes them, `frames >= min_frames`.

        Returns
        -------
        Tensor
            (batch, embedding_dim), not length-normalised.

        Raises
        ------
        ShapeError
            When there are too few frames or another number of features.
        """

    def check_feats(self, feats: Tensor) -> None:
        """Refuse features that this network cannot embed; call it first in `forward`."""
        if feats.dim() != 3 or feats.shape[2] != self.feat_dim:
            shape = tuple(feats.shape)
            raise ShapeError(f"expected features (batch, frames, {self.feat_dim}), got {shape}")
        if feats.shape[1] < self.min_frames:
            raise ShapeError(
                f"{feats.shape[1]} frames are too few, the network needs {self.min_frames}"
            )
