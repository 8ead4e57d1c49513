"""HAM-softmax: softmax over hyperbolic distances with an additive margin."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.losses.margin import widen
from sv_cli.losses.protocol import SpeakerLoss
from sv_cli.losses.settings import HyperbolicSettings
from sv_cli.settings.model import build_settings

EPS = 1e-5


class HyperbolicSoftmax(SpeakerLoss):
    """Hyperbolic additive margin: target logit -s (d + m), others -s d, cross-entropy.

    d(x, w) = arcosh(1 + 2 |x - w|^2 / ((1 - |x|^2) (1 - |w|^2))) is the distance in the Poincaré
    ball of curvature -1. Embedding and class weights are first shortened to a norm of at most
    (1 - 1e-5) / sqrt(c); c, which the paper calls the curvature, only sets this radius. With m = 0
    it is H-softmax. Initial weights are normal with deviation 1e-3.

    Parameters
    ----------
    embedding_dim, num_classes : int
    **options
        Fields of `HyperbolicSettings`.

    Source
    ------
    Fang and He, "Hyperbolic Additive Margin Softmax with Hierarchical Information for Speaker
    Verification", ICASSP 2026 (arXiv 2601.19709), as its authors and WeSpeaker compute it.
    """

    settings_type = HyperbolicSettings

    def __init__(self, embedding_dim: int, num_classes: int, **options: Any) -> None:
        super().__init__()
        self.settings = build_settings(HyperbolicSettings, options, where="loss")
        self.margin = self.settings.margin
        self.weight = nn.Parameter(1e-3 * torch.randn(num_classes, embedding_dim))

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and (B, N) negative distances; see `SpeakerLoss`."""
        with torch.autocast(embeddings.device.type, enabled=False):
            radius = (1.0 - EPS) / math.sqrt(self.settings.curvature)
            distance = distances(
                shorten(widen(embeddings), radius), shorten(widen(self.weight), radius)
            )
        margin = torch.zeros_like(distance).scatter(1, labels.unsqueeze(1), self.margin)
        loss = functional.cross_entropy(-self.settings.scale * (distance + margin), labels)
        return loss, -distance.detach()


def shorten(x: Tensor, radius: float) -> Tensor:
    """Return rows (n, dim) with their norms reduced to at most `radius`."""
    shorter: Tensor = x * (radius / x.norm(dim=1, keepdim=True).clamp(min=radius))
    return shorter


def distances(x: Tensor, w: Tensor) -> Tensor:
    """Return (B, N) distances of rows (B, dim) and (N, dim) in the Poincaré ball."""
    x2, w2 = x.square().sum(1, keepdim=True), w.square().sum(1)
    # |x - w|^2 by its three parts: no tensor of (B, N, dim).
    apart = (x2 + w2 - 2.0 * functional.linear(x, w)).clamp(min=0.0)
    # arcosh(1 + z) = log1p(z + sqrt(z (z + 2))); its slope has no bound at z = 0.
    z = 2.0 * apart / ((1.0 - x2) * (1.0 - w2)).clamp(min=EPS)
    z = z.clamp(min=torch.finfo(z.dtype).eps)
    return torch.log1p(z + (z * (z + 2.0)).sqrt())
