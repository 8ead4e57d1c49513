"""Softmax over cosines with a margin: AM, AAM, sub-centres, inter-top-k.

Legend: B batch, N classes, K centres a class, c cosine, θ its angle, m margin, s scale.
All arithmetic is in float32 or wider, also under autocast.

Sources: Wang et al. 2018 (AM), Deng et al., CVPR 2019 (AAM), Deng et al., ECCV 2020 (sub-centres),
Zhao et al., ICASSP 2022 (inter-top-k).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.errors import SettingsError
from sv_cli.losses.protocol import SpeakerLoss
from sv_cli.losses.settings import AngularSettings, MarginSettings
from sv_cli.settings.model import Settings, build_settings


def widen(x: Tensor) -> Tensor:
    """Return half types as float32, others as they are."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def cosines(embeddings: Tensor, weight: Tensor) -> Tensor:
    """Return (B, rows) cosines of embeddings (B, dim) and class weights (rows, dim)."""
    with torch.autocast(embeddings.device.type, enabled=False):
        directions = functional.normalize(widen(embeddings))
        return functional.linear(directions, functional.normalize(widen(weight)))


def rotate(c: Tensor, angle: float) -> Tensor:
    """Return cos(θ + angle) of cosines; the slope stays finite where c is exactly 1 or -1."""
    # Below the resolution of the type sin θ is rounding noise and its slope without bound.
    sine = (1.0 - c.square()).clamp(min=torch.finfo(c.dtype).eps).sqrt()
    return c * math.cos(angle) - sine * math.sin(angle)


def replace_at(cosine: Tensor, columns: Tensor, values: Tensor) -> Tensor:
    """Return `cosine` (B, N) with `values` (B, k) at `columns` (B, k) of each row."""
    return cosine.scatter(1, columns, values)


class AmSoftmax(SpeakerLoss):
    """Additive margin: target logit s (c - m), others s c, cross-entropy.

    Parameters
    ----------
    embedding_dim, num_classes : int
    **options
        Fields of `MarginSettings`.

    Attributes
    ----------
    weight : (num_classes * subcenters, embedding_dim)
        Rows n K ... n K + K - 1 belong to class n.
    margin : float
        Settable.
    annealing : float
        λ ≥ 0, settable: a penalised cosine counts 1 / (1 + λ), the plain one λ / (1 + λ).
    """

    settings_type: type[Settings] = MarginSettings
    can_sample = True

    def __init__(self, embedding_dim: int, num_classes: int, **options: Any) -> None:
        super().__init__()
        settings: Any = build_settings(self.settings_type, options, where="loss")
        if settings.topk >= num_classes:
            raise SettingsError(
                f"loss: topk {settings.topk} needs more than {num_classes} classes",
                hint="lower topk",
            )
        self.settings: MarginSettings = settings
        self.num_classes = num_classes
        self.margin = self.settings.margin
        self.annealing = 0.0
        rows = num_classes * self.settings.subcenters
        self.weight = nn.Parameter(torch.empty(rows, embedding_dim))
        nn.init.xavier_uniform_(self.weight)

    def class_rows(self) -> dict[str, int]:
        """Return the rows of classes; see `SpeakerLoss`."""
        return {"weight": self.settings.subcenters}

    def forward(
        self, embeddings: Tensor, labels: Tensor, classes: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and (B, N) plain cosines; see `SpeakerLoss`."""
        cosine = self.class_cosines(embeddings, classes)
        target = labels.unsqueeze(1)
        plain = cosine.gather(1, target)
        penalised = replace_at(cosine, target, self.blend(self.penalise(plain), plain))
        if self.settings.topk:
            penalised = self.push_nearest(cosine, penalised, target)
        loss = functional.cross_entropy(self.settings.scale * penalised, labels)
        return loss, cosine.detach()

    def class_cosines(self, embeddings: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return (B, N) cosines to the nearest centre of each class, or of the chosen ones."""
        centres = self.settings.subcenters
        weight: Tensor = self.weight
        if classes is not None:
            weight = weight.view(self.num_classes, centres, -1)[classes].flatten(0, 1)
        cosine = cosines(embeddings, weight)
        if centres == 1:
            return cosine
        num_chosen = cosine.shape[1] // centres
        return cosine.view(-1, num_chosen, centres).max(dim=2).values

    def penalise(self, c: Tensor) -> Tensor:
        """Return what the margin makes of target cosines."""
        return c - self.margin

    def penalise_other(self, c: Tensor, margin: float) -> Tensor:
        """Return what the inter-top-k margin makes of cosines of other classes."""
        return c + margin

    def blend(self, penalised: Tensor, plain: Tensor) -> Tensor:
        """Return the mixture that annealing asks for."""
        if self.annealing == 0.0:
            return penalised
        return (penalised + self.annealing * plain) / (1.0 + self.annealing)

    def push_nearest(self, cosine: Tensor, penalised: Tensor, target: Tensor) -> Tensor:
        """Return `penalised` with the nearest other classes made nearer still."""
        others = replace_at(
            cosine.detach(), target, torch.full_like(target, -2, dtype=cosine.dtype)
        )
        count = min(self.settings.topk, cosine.shape[1] - 1)  # fewer where classes are sampled
        nearest = others.topk(count, dim=1, sorted=False).indices
        plain = cosine.gather(1, nearest)
        pushed = self.penalise_other(plain, self._topk_margin())
        return replace_at(penalised, nearest, self.blend(pushed, plain))

    def _topk_margin(self) -> float:
        if not self.settings.topk_follows_margin:
            return self.settings.topk_margin
        # WeSpeaker's rule: the stated value belongs to a margin of 0.2.
        return self.settings.topk_margin * self.margin / 0.2 if self.margin > 0.001 else 0.0


class AamSoftmax(AmSoftmax):
    """Additive angular margin: target logit s cos(θ + m), others s c, cross-entropy.

    Beyond θ = π - m, where cos(θ + m) would rise again, the target logit goes on falling: by
    1 - cos m below c (`fallback="wespeaker"`, 3D-Speaker's and speaker-net's too) or by m sin m
    (`"classic"`). With `easy_margin` the margin acts only where c > 0.

    Parameters
    ----------
    embedding_dim, num_classes : int
    **options
        Fields of `AngularSettings`.
    """

    settings_type: type[Settings] = AngularSettings
    settings: AngularSettings

    def penalise(self, c: Tensor) -> Tensor:
        """Return cos(θ + m), or the fallback."""
        rotated = rotate(c, self.margin)
        if self.settings.easy_margin:
            return torch.where(c > 0, rotated, c)
        return torch.where(c > -math.cos(self.margin), rotated, c - self._drop())

    def penalise_other(self, c: Tensor, margin: float) -> Tensor:
        """Return cos(θ - margin)."""
        return rotate(c, -margin)

    def _drop(self) -> float:
        if self.settings.fallback == "classic":
            return self.margin * math.sin(self.margin)
        return 1.0 - math.cos(self.margin)
