"""ECAPA-TDNN with the layout and state-dict keys of SpeechBrain, which 3D-Speaker follows.

Paper: Desplanques et al., Interspeech 2020 (arXiv:2005.07143). Unlike WeSpeaker's: convolutions
mirror the edges, the first of eight groups passes through (not the last), the aggregation keeps
three times the width and has a norm, the attention has a ReLU and a norm before its tanh.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.models.pooling import narrow, widen
from sv_cli.models.protocol import EncoderSettings, SpeakerEncoder
from sv_cli.settings.model import build_settings

VARIANCE_FLOOR = 1e-12


class Conv(nn.Module):
    """1-D convolution of equal length, the edges mirrored (keys `conv.*`)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        self.padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, T)."""
        if self.padding:
            x = functional.pad(x, (self.padding, self.padding), mode="reflect")
        out: Tensor = self.conv(x)
        return out


class Norm(nn.Module):
    """Batch norm (keys `norm.*`)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return x normalised."""
        out: Tensor = self.norm(x)
        return out


class TdnnBlock(nn.Module):
    """Convolution, ReLU, batch norm."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        self.conv = Conv(in_channels, out_channels, kernel, dilation)
        self.norm = Norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, T)."""
        out: Tensor = self.norm(functional.relu(self.conv(x), inplace=True))
        return out


class Res2Conv(nn.Module):
    """Convolutions on groups of channels, each fed by the one before; the first group passes."""

    def __init__(self, channels: int, *, kernel: int, dilation: int, scale: int) -> None:
        super().__init__()
        self.width = channels // scale
        self.blocks = nn.ModuleList(
            TdnnBlock(self.width, self.width, kernel, dilation) for _ in range(scale - 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, T)."""
        first, *groups = torch.split(x, self.width, dim=1)
        done = [first]
        for i, (block, group) in enumerate(zip(self.blocks, groups, strict=True)):
            done.append(block(group if i == 0 else group + done[-1]))
        return torch.cat(done, dim=1)


class SqueezeExcite(nn.Module):
    """Gate of each channel by the utterance's means."""

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.conv1 = Conv(channels, bottleneck)
        self.conv2 = Conv(bottleneck, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, T)."""
        hidden = functional.relu(self.conv1(x.mean(dim=2, keepdim=True)))
        return x * torch.sigmoid(self.conv2(hidden))


class SeRes2Block(nn.Module):
    """1x1, Res2 and 1x1 convolution, squeeze-excitation, and the identity."""

    def __init__(self, channels: int, *, dilation: int) -> None:
        super().__init__()
        self.tdnn1 = TdnnBlock(channels, channels)
        self.res2net_block = Res2Conv(channels, kernel=3, dilation=dilation, scale=8)
        self.tdnn2 = TdnnBlock(channels, channels)
        self.se_block = SqueezeExcite(channels, 128)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, T)."""
        out: Tensor = self.se_block(self.tdnn2(self.res2net_block(self.tdnn1(x))))
        return out + x


class AttentivePooling(nn.Module):
    """Attentive statistics whose attention sees the utterance's mean and population deviation."""

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.tdnn = TdnnBlock(3 * channels, bottleneck)
        self.conv = Conv(bottleneck, channels)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2 * C): weighted means, weighted deviations."""
        wide = widen(x)
        uniform = wide.new_full((1, 1, 1), 1.0 / x.shape[2])
        context = narrow(_statistics(wide, uniform), x)
        linear = self.tdnn.conv.conv
        # The constant two thirds of [x ; mean ; deviation] need one product an utterance.
        offset = functional.linear(context, linear.weight[:, self.channels :, 0], linear.bias)
        hidden = functional.conv1d(x, linear.weight[:, : self.channels]) + offset.unsqueeze(2)
        hidden = torch.tanh(self.tdnn.norm(functional.relu(hidden, inplace=True)))
        weights = torch.softmax(widen(self.conv(hidden)), dim=2)
        return narrow(_statistics(wide, weights), x)


def _statistics(x: Tensor, weights: Tensor) -> Tensor:
    mean = (weights * x).sum(2, keepdim=True)
    variance = (weights * (x - mean).square()).sum(2)
    return torch.cat([mean.squeeze(2), variance.clamp(min=VARIANCE_FLOOR).sqrt()], dim=1)


class EcapaSpeechBrain(SpeakerEncoder):
    """Stem, three blocks, aggregation, attentive pooling, linear layer."""

    def __init__(self, settings: "EcapaSpeechBrainSettings") -> None:
        super().__init__()
        channels = settings.channels
        self.blocks = nn.ModuleList(
            [
                TdnnBlock(settings.feat_dim, channels, kernel=5),
                *(SeRes2Block(channels, dilation=dilation) for dilation in (2, 3, 4)),
            ]
        )
        self.mfa = TdnnBlock(3 * channels, 3 * channels)
        self.asp = AttentivePooling(3 * channels, 128)
        self.asp_bn = Norm(6 * channels)
        self.fc = Conv(6 * channels, settings.embedding_dim)
        self.feat_dim = settings.feat_dim
        self.embedding_dim = settings.embedding_dim
        # Four frames are mirrored on each side at dilation 4.
        self.min_frames = 5

    def forward(self, feats: Tensor) -> Tensor:
        """Return embeddings; see `SpeakerEncoder`."""
        self.check_feats(feats)
        x = feats.transpose(1, 2)
        outs: list[Tensor] = []
        for block in self.blocks:
            x = block(x)
            outs.append(x)
        pooled = self.asp_bn(self.asp(self.mfa(torch.cat(outs[1:], dim=1))))
        embedding: Tensor = self.fc(pooled.unsqueeze(2)).squeeze(2)
        return embedding


class EcapaSpeechBrainSettings(EncoderSettings):
    """Sizes of an ECAPA-TDNN of SpeechBrain."""

    channels: int = Field(1024, ge=8, multiple_of=8, description="channels of the blocks")


def ecapa_3dspeaker_c512(**overrides: Any) -> EcapaSpeechBrain:
    """`ECAPA_TDNN` of 3D-Speaker with its class defaults."""
    return ecapa_3dspeaker_c1024(**{"channels": 512, **overrides})


def ecapa_3dspeaker_c1024(**overrides: Any) -> EcapaSpeechBrain:
    """`ECAPA_TDNN` of 3D-Speaker's recipes and of SpeechBrain's published model."""
    return EcapaSpeechBrain(build_settings(EcapaSpeechBrainSettings, overrides, where="model"))
