"""What every network of the zoo is: features in, one embedding an utterance out."""

from torch import Tensor, nn


class SpeakerEncoder(nn.Module):
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
        """
        raise NotImplementedError
