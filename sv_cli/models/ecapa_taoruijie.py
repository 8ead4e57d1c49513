"""ECAPA-TDNN as in TaoRuijie/ECAPA-TDNN, with its state-dict keys.

Paper: Desplanques et al., Interspeech 2020 (arXiv:2005.07143). Kept from that project: each block
is fed by the sum of all before it, the aggregation has 1536 channels for any width and no
norm, the attention has a BatchNorm, the embedding is the output of a BatchNorm. The network
subtracts the mean of its features over time; its front-end holds no weights and is not part of it.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.models.ecapa import Res2Conv
from sv_cli.models.pooling import narrow, weighted_moments, widen
from sv_cli.models.protocol import EncoderSettings, SpeakerEncoder
from sv_cli.settings.model import build_settings

VARIANCE_FLOOR = 1e-4
AGGREGATED = 1536
ATTENTION_DIM = 256
SQUEEZED = 128


class SqueezeExcite(nn.Module):
    """Gate of each channel by the utterance's means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.se = nn.Sequential(
            nn.AdaptiveAvgPool1d(1),
            nn.Conv1d(channels, SQUEEZED, 1),
            nn.ReLU(inplace=True),
            nn.Conv1d(SQUEEZED, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels, frames)."""
        gate: Tensor = self.se(x)
        return x * gate


class SeRes2Block(Res2Conv):
    """The Res2 convolutions between two point-wise ones, a gate, and the input added.

    A kind of `Res2Conv`, not an owner of one, because the published keys are not nested.
    """

    def __init__(self, channels: int, *, dilation: int) -> None:
        super().__init__(channels, kernel=3, dilation=dilation, scale=8)
        self.conv1 = nn.Conv1d(channels, channels, 1)
        self.bn1 = nn.BatchNorm1d(channels)
        self.conv3 = nn.Conv1d(channels, channels, 1)
        self.bn3 = nn.BatchNorm1d(channels)
        self.se = SqueezeExcite(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels, frames)."""
        out = self.bn1(functional.relu(self.conv1(x), inplace=True))
        out = super().forward(out)
        out = self.bn3(functional.relu(self.conv3(out), inplace=True))
        return x + self.se(out)  # type: ignore[no-any-return]


class EcapaSettings(EncoderSettings):
    """Sizes of TaoRuijie's ECAPA-TDNN."""

    channels: int = Field(1024, ge=8, multiple_of=8, description="channels of the blocks")


class EcapaTaoRuijie(SpeakerEncoder):
    """Stem, three blocks, aggregation, attentive statistics, one linear layer."""

    min_frames = 2

    def __init__(self, settings: EcapaSettings) -> None:
        super().__init__()
        self.feat_dim = settings.feat_dim
        self.embedding_dim = settings.embedding_dim
        channels = settings.channels
        self.conv1 = nn.Conv1d(settings.feat_dim, channels, 5, padding=2)
        self.bn1 = nn.BatchNorm1d(channels)
        self.layer1 = SeRes2Block(channels, dilation=2)
        self.layer2 = SeRes2Block(channels, dilation=3)
        self.layer3 = SeRes2Block(channels, dilation=4)
        self.layer4 = nn.Conv1d(3 * channels, AGGREGATED, 1)
        self.attention = nn.Sequential(
            nn.Conv1d(3 * AGGREGATED, ATTENTION_DIM, 1),
            nn.ReLU(),
            nn.BatchNorm1d(ATTENTION_DIM),
            nn.Tanh(),
            nn.Conv1d(ATTENTION_DIM, AGGREGATED, 1),
        )
        self.bn5 = nn.BatchNorm1d(2 * AGGREGATED)
        self.fc6 = nn.Linear(2 * AGGREGATED, settings.embedding_dim)
        self.bn6 = nn.BatchNorm1d(settings.embedding_dim)

    def forward(self, feats: Tensor) -> Tensor:
        """Map (batch, frames, feat_dim) to (batch, embedding_dim)."""
        self.check_feats(feats)
        centred = feats - feats.mean(dim=1, keepdim=True)
        x = self.bn1(functional.relu(self.conv1(centred.transpose(1, 2)), inplace=True))
        x1 = self.layer1(x)
        x2 = self.layer2(x + x1)
        x3 = self.layer3(x + x1 + x2)
        merged = functional.relu(self.layer4(torch.cat([x1, x2, x3], dim=1)), inplace=True)
        embedding: Tensor = self.bn6(self.fc6(self.bn5(self._pool(merged))))
        return embedding

    def _pool(self, x: Tensor) -> Tensor:
        weights = torch.softmax(widen(self._attend(x)), dim=-1)
        return narrow(weighted_moments(x, weights, eps=VARIANCE_FLOOR), x)

    def _attend(self, x: Tensor) -> Tensor:
        """Return the attention before its softmax, seeing [x ; mean ; deviation].

        Mean and deviation are the same in all frames, so they pass the first layer once.
        """
        first, *rest = self.attention
        assert isinstance(first, nn.Conv1d)  # for the type checker
        var, mean = torch.var_mean(widen(x), dim=-1, unbiased=True)
        context = torch.cat([mean, var.clamp(min=VARIANCE_FLOOR).sqrt()], dim=1)
        weight = first.weight
        offset = functional.linear(narrow(context, x), weight[:, AGGREGATED:, 0], first.bias)
        out = functional.conv1d(x, weight[:, :AGGREGATED]) + offset.unsqueeze(-1)
        for layer in rest:
            out = layer(out)
        return out


def _build(name: str, channels: int, overrides: dict[str, Any]) -> EcapaTaoRuijie:
    values = {"channels": channels, **overrides}
    return EcapaTaoRuijie(build_settings(EcapaSettings, values, where=name))


def ecapa_taoruijie_c512(**overrides: Any) -> EcapaTaoRuijie:
    """Return the network of 512 channels (6.98 M parameters)."""
    return _build("ecapa_taoruijie_c512", 512, overrides)


def ecapa_taoruijie_c1024(**overrides: Any) -> EcapaTaoRuijie:
    """Return the network of the published weights (15.4 M parameters)."""
    return _build("ecapa_taoruijie_c1024", 1024, overrides)
