"""Encoder and classification head as one module: what DDP wraps and a step calls."""

from torch import Tensor, nn

from sv_cli.losses.protocol import SpeakerLoss
from sv_cli.losses.registry import build_loss
from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.training.settings import LossSettings


class Classifier(nn.Module):
    """Features and labels in, loss and cosines out.

    Attributes
    ----------
    encoder : SpeakerEncoder
        The network that is wanted.
    head : SpeakerLoss
        The loss with its class weights.
    """

    def __init__(self, encoder: SpeakerEncoder, head: SpeakerLoss) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, feats: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss and (batch, classes) cosines, both float32.

        Parameters
        ----------
        feats : (batch, frames, bins) float32
        labels : (batch,) int64
        """
        embeddings = self.encoder(feats)
        loss, cosines = self.head(embeddings.float(), labels)
        return loss, cosines


def make_head(settings: LossSettings, *, embedding_dim: int, num_classes: int) -> SpeakerLoss:
    """Return the loss of the settings, its margin at the value it starts from."""
    return build_loss(
        settings.name,
        embedding_dim=embedding_dim,
        num_classes=num_classes,
        scale=settings.scale,
        margin=settings.initial_margin if settings.rise_end_epoch > 0 else settings.margin,
        easy_margin=settings.easy_margin,
        **settings.options,
    )
