"""Encoder and classification head as one module: what DDP wraps and a step calls."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sv_cli.errors import SettingsError
from sv_cli.losses.class_sample import sample_classes
from sv_cli.losses.protocol import SpeakerLoss
from sv_cli.losses.registry import build_loss
from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.training.settings import LossSettings


class Classifier(nn.Module):
    """Features and labels in, the loss and the number of correct classes out.

    Parameters
    ----------
    encoder : SpeakerEncoder
    head : SpeakerLoss
    num_classes : int
    class_share : float
        Share of the classes that a step compares with; 1 takes all.

    Attributes
    ----------
    encoder : SpeakerEncoder
        The network that is wanted.
    head : SpeakerLoss
        The loss with its class weights.

    Raises
    ------
    SettingsError
        When the loss cannot do with a share of the classes.
    """

    def __init__(
        self,
        encoder: SpeakerEncoder,
        head: SpeakerLoss,
        *,
        num_classes: int,
        class_share: float = 1.0,
    ) -> None:
        super().__init__()
        if class_share < 1.0 and not head.can_sample:
            raise SettingsError(
                "`loss.class_share`: this loss needs all classes in every step",
                hint="`am` and `aam` with their variants can sample",
            )
        self.encoder = encoder
        self.head = head
        self.num_classes, self.class_share = num_classes, class_share
        self._encode: Callable[[Tensor], Tensor] = encoder.__call__

    def compile_encoder(self) -> None:
        """Compile the network for fixed shapes; the module and its state dict stay as they are."""
        self._encode = torch.compile(self.encoder.forward, dynamic=False)

    def forward(self, feats: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss, float32, and (batch,) bool: whose own class is the nearest.

        Parameters
        ----------
        feats : (batch, frames, bins) float32
        labels : (batch,) int64
        """
        embeddings = self._encode(feats).float()
        if self.class_share == 1.0:
            loss, cosines = self.head(embeddings, labels)
        else:
            classes, labels = sample_classes(
                labels, num_classes=self.num_classes, share=self.class_share
            )
            loss, cosines = self.head(embeddings, labels, classes)
        return loss, cosines.argmax(dim=1) == labels


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
