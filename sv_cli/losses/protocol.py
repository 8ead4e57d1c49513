"""What every loss is: embeddings and labels in, the loss and plain cosines out."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from sv_cli.settings.model import Settings


class SpeakerLoss(nn.Module, ABC):
    """Base of all losses; holds the class weights.

    Attributes
    ----------
    settings_type : type of Settings
        Its options.
    margin : float
        May be set before every step; losses without a margin ignore it.
    can_sample : bool
        Whether `forward` takes `classes`, (chosen,) int64: the only classes to compare with;
        labels then are places among them.
    """

    settings_type: type[Settings]
    margin: float = 0.0
    can_sample: bool = False

    def class_rows(self) -> dict[str, int]:
        """Return the parameters that hold rows of classes, and how many rows each class has."""
        return {"weight": 1}

    @abstractmethod
    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and what accuracy is counted on.

        Parameters
        ----------
        embeddings : (batch, embedding_dim) float
        labels : (batch,) int64

        Returns
        -------
        loss : () float32 (float64 when the embeddings are)
            Mean over the batch.
        cosine : (batch, classes)
            Cosines (or logits) without margin and scale, detached.
        """
