"""Plain softmax: a linear layer with bias and cross-entropy, with label smoothing."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from sv_cli.losses.margin import widen
from sv_cli.losses.protocol import SpeakerLoss
from sv_cli.losses.settings import SoftmaxSettings
from sv_cli.settings.model import build_settings


class Softmax(SpeakerLoss):
    """Linear layer and cross-entropy; the logits replace cosines.

    Parameters
    ----------
    embedding_dim, num_classes : int
    **options
        Fields of `SoftmaxSettings`.
    """

    settings_type = SoftmaxSettings

    def __init__(self, embedding_dim: int, num_classes: int, **options: Any) -> None:
        super().__init__()
        self.settings = build_settings(SoftmaxSettings, options, where="loss")
        # Numbered as WeSpeaker's `projection.trans`: batch norm, ReLU, linear layer.
        linear = nn.Linear(embedding_dim, num_classes)
        if self.settings.normalize_input:
            self.trans = nn.Sequential(nn.BatchNorm1d(embedding_dim), nn.ReLU(), linear)
        else:
            self.trans = nn.Sequential(linear)

    def class_rows(self) -> dict[str, int]:
        """Return the rows of classes; see `SpeakerLoss`."""
        last = len(self.trans) - 1
        return {f"trans.{last}.weight": 1, f"trans.{last}.bias": 1}

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and (B, N) logits; see `SpeakerLoss`."""
        logits = widen(self.trans(embeddings))
        smoothing = self.settings.label_smoothing
        loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        return loss, logits.detach()
