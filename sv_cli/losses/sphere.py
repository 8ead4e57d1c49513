"""SphereFace2 and A-softmax: margins on the sphere that are not a plain softmax over cosines.

Sources: Wen et al., ICLR 2022 (SphereFace2; for speakers Han et al., ICASSP 2023) and Liu et al.,
CVPR 2017 (A-softmax), both as WeSpeaker has them.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.losses.margin import cosines, rotate, widen
from sv_cli.losses.protocol import SpeakerLoss
from sv_cli.losses.settings import SphereFace2Settings, SphereSettings
from sv_cli.settings.model import build_settings


class SphereFace2(SpeakerLoss):
    """One binary classification a class.

    With g(z) = 2 ((z + 1) / 2)^t - 1 the target logit is p = s (g(c) - m) + b and the others
    n = s (g(c) + m) + b (type C), or p = s g(cos(θ + m)) + b and n = s g(cos(θ - m)) + b (type A);
    loss = λ log(1 + exp(-p)) + (1 - λ) Σ log(1 + exp(n)).

    Parameters
    ----------
    embedding_dim, num_classes : int
    **options
        Fields of `SphereFace2Settings`.
    """

    settings_type = SphereFace2Settings

    def __init__(self, embedding_dim: int, num_classes: int, **options: Any) -> None:
        super().__init__()
        self.settings = build_settings(SphereFace2Settings, options, where="loss")
        self.margin = self.settings.margin
        self.weight = nn.Parameter(torch.empty(num_classes, embedding_dim))
        self.bias = nn.Parameter(torch.zeros(1, 1))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and (B, N) plain cosines; see `SpeakerLoss`."""
        cosine = cosines(embeddings, self.weight)
        target = labels.unsqueeze(1)
        bias = widen(self.bias)
        positive = self._target_similarity(cosine.gather(1, target))
        attract = functional.softplus(-(self.settings.scale * positive + bias)).sum(1)
        repel = functional.softplus(self.settings.scale * self._other_similarity(cosine) + bias)
        repel = repel.scatter(1, target, 0.0).sum(1)
        share = self.settings.target_weight
        return (share * attract + (1.0 - share) * repel).mean(), cosine.detach()

    def _adjust(self, z: Tensor) -> Tensor:
        # The angular fallback reaches below -1; the power is carried on as an odd function.
        half = (z + 1.0) / 2.0
        return 2.0 * half.sign() * half.abs() ** self.settings.power - 1.0

    def _target_similarity(self, c: Tensor) -> Tensor:
        if self.settings.margin_type == "C":
            return self._adjust(c) - self.margin
        drop = 1.0 - math.cos(self.margin)
        rotated = rotate(c, self.margin)
        return self._adjust(torch.where(c > -math.cos(self.margin), rotated, c - drop))

    def _other_similarity(self, c: Tensor) -> Tensor:
        if self.settings.margin_type == "C":
            return self._adjust(c) + self.margin
        return self._adjust(rotate(c, -self.margin))


class ASoftmax(SpeakerLoss):
    """A-softmax with m = 4: target logit |x| (c + (ψ - c) / (1 + λ)), others |x| c.

    ψ = (-1)^k cos 4θ - 2 k with k = floor(4 θ / π) falls over all of [0, π]; λ falls from 1000 to 5
    with the training steps, which are counted in the state dict.

    Parameters
    ----------
    embedding_dim, num_classes : int
    """

    settings_type = SphereSettings
    num_steps: Tensor

    def __init__(self, embedding_dim: int, num_classes: int, **options: Any) -> None:
        super().__init__()
        build_settings(SphereSettings, options, where="loss")
        self.margin = 4.0
        self.weight = nn.Parameter(torch.empty(num_classes, embedding_dim))
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.int64))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and (B, N) plain cosines; see `SpeakerLoss`."""
        if self.training:
            self.num_steps += 1
        cosine = cosines(embeddings, self.weight)
        target = labels.unsqueeze(1)
        c = cosine.gather(1, target).clamp(-1.0, 1.0)
        blend = (1000.0 / (1.0 + 0.12 * self.num_steps)).clamp(min=5.0)
        penalised = c + (fall(c) - c) / (1.0 + blend)
        length = widen(embeddings).norm(dim=1, keepdim=True)
        logits = length * cosine.scatter(1, target, penalised)
        return functional.cross_entropy(logits, labels), cosine.detach()


def fall(c: Tensor) -> Tensor:
    """Return ψ(θ) = (-1)^k cos 4θ - 2 k of cosines, k = floor(4 θ / π)."""
    fourfold = 8.0 * c**4 - 8.0 * c.square() + 1.0  # cos 4θ, without the slope of arccos
    k = (4.0 * torch.acos(c.detach()) / math.pi).floor()
    return (1.0 - 2.0 * (k % 2)) * fourfold - 2.0 * k
