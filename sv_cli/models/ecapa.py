"""ECAPA-TDNN with WeSpeaker's layout and state-dict keys.

Paper: Desplanques et al., Interspeech 2020 (arXiv:2005.07143). Kept from WeSpeaker: each block is
fed by the block before it only, the aggregation layer has no norm and 1536 channels for any
width, and the attention sees the utterance's statistics in the GLOB variants only.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.models.pooling import make_pooling
from sv_cli.models.protocol import EncoderSettings, SpeakerEncoder
from sv_cli.settings.model import build_settings

AGGREGATED = 1536


class ConvReluNorm(nn.Module):
    """1-D convolution of equal length, ReLU, batch norm."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, padding=padding, dilation=dilation)
        self.bn = nn.BatchNorm1d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, T)."""
        out: Tensor = self.bn(functional.relu(self.conv(x), inplace=True))
        return out


class Res2Conv(nn.Module):
    """Convolutions on groups of channels, each fed by the one before; the last group passes."""

    def __init__(self, channels: int, *, kernel: int, dilation: int, scale: int) -> None:
        super().__init__()
        self.width = channels // scale
        padding = dilation * (kernel - 1) // 2
        self.convs = nn.ModuleList(
            nn.Conv1d(self.width, self.width, kernel, padding=padding, dilation=dilation)
            for _ in range(scale - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm1d(self.width) for _ in range(scale - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, T)."""
        groups = torch.split(x, self.width, dim=1)
        done: list[Tensor] = []
        for i, (conv, bn) in enumerate(zip(self.convs, self.bns, strict=True)):
            group = groups[i] if i == 0 else done[-1] + groups[i]
            done.append(bn(functional.relu(conv(group), inplace=True)))
        return torch.cat([*done, groups[-1]], dim=1)


class SqueezeExcite(nn.Module):
    """Gate of each channel by the utterance's means."""

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, bottleneck)
        self.linear2 = nn.Linear(bottleneck, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, T)."""
        gate = torch.sigmoid(self.linear2(functional.relu(self.linear1(x.mean(dim=2)))))
        return x * gate.unsqueeze(2)


class SeRes2Block(nn.Module):
    """1x1, Res2 and 1x1 convolution, squeeze-excitation, and the identity."""

    def __init__(self, channels: int, *, dilation: int) -> None:
        super().__init__()
        self.se_res2block = nn.Sequential(
            ConvReluNorm(channels, channels),
            Res2Conv(channels, kernel=3, dilation=dilation, scale=8),
            ConvReluNorm(channels, channels),
            SqueezeExcite(channels, 128),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, T)."""
        out: Tensor = self.se_res2block(x)
        return out + x


class EcapaTdnn(SpeakerEncoder):
    """Stem, three blocks, aggregation, pooling, linear layer."""

    def __init__(self, settings: "EcapaSettings") -> None:
        super().__init__()
        channels = settings.channels
        self.layer1 = ConvReluNorm(settings.feat_dim, channels, kernel=5)
        self.layer2 = SeRes2Block(channels, dilation=2)
        self.layer3 = SeRes2Block(channels, dilation=3)
        self.layer4 = SeRes2Block(channels, dilation=4)
        self.conv = nn.Conv1d(3 * channels, AGGREGATED, 1)
        options = {"global_context": True} if settings.global_context else {}
        self.pool = make_pooling(settings.pooling, AGGREGATED, **options)
        self.bn = nn.BatchNorm1d(self.pool.out_dim)
        self.linear = nn.Linear(self.pool.out_dim, settings.embedding_dim)
        self.bn2 = (
            nn.BatchNorm1d(settings.embedding_dim) if settings.embedding_norm else nn.Identity()
        )
        self.feat_dim = settings.feat_dim
        self.embedding_dim = settings.embedding_dim
        self.min_frames = self.pool.min_frames

    def forward(self, feats: Tensor) -> Tensor:
        """Return embeddings; see `SpeakerEncoder`."""
        self.check_feats(feats)
        out2 = self.layer2(self.layer1(feats.transpose(1, 2)))
        out3 = self.layer3(out2)
        out4 = self.layer4(out3)
        aggregated = self.conv(torch.cat([out2, out3, out4], dim=1))
        pooled = self.bn(self.pool(functional.relu(aggregated, inplace=True)))
        embedding: Tensor = self.bn2(self.linear(pooled))
        return embedding


class EcapaSettings(EncoderSettings):
    """Sizes of an ECAPA-TDNN."""

    channels: int = Field(512, ge=8, multiple_of=8, description="channels of the blocks")
    global_context: bool = Field(False, description="attention sees the utterance's statistics")
    pooling: str = Field("ASTP", description="name of the pooling")
    embedding_norm: bool = Field(False, description="batch norm on the embedding (emb_bn)")


def build(preset: dict[str, Any], overrides: dict[str, Any]) -> EcapaTdnn:
    """Return the network of a preset with some settings changed."""
    return EcapaTdnn(build_settings(EcapaSettings, {**preset, **overrides}, where="model"))


def ecapa_c512(**overrides: Any) -> EcapaTdnn:
    """`ECAPA_TDNN_c512` of WeSpeaker."""
    return build({}, overrides)


def ecapa_c1024(**overrides: Any) -> EcapaTdnn:
    """`ECAPA_TDNN_c1024` of WeSpeaker."""
    return build({"channels": 1024}, overrides)


def ecapa_glob_c512(**overrides: Any) -> EcapaTdnn:
    """`ECAPA_TDNN_GLOB_c512` of WeSpeaker."""
    return build({"global_context": True}, overrides)


def ecapa_glob_c1024(**overrides: Any) -> EcapaTdnn:
    """`ECAPA_TDNN_GLOB_c1024` of WeSpeaker."""
    return build({"channels": 1024, "global_context": True}, overrides)
