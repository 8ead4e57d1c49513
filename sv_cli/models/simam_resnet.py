"""SimAM-ResNet: residual networks with parameter-free attention and attentive statistics.

Paper: Qin et al., "Simple attention module based speaker verification with iterative noisy label
detection", ICASSP 2022; SimAM: Yang et al., ICML 2021, eq. 5.
State-dict keys are those of WeSpeaker's `samresnet.py`.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.models.blocks import as_image, conv3x3, halve, make_shortcut
from sv_cli.models.pooling import make_pooling
from sv_cli.models.protocol import EncoderSettings, SpeakerEncoder
from sv_cli.settings.model import build_settings

STRIDES = (1, 2, 2, 2)
ENERGY_FLOOR = 1e-4


def simam(x: Tensor) -> Tensor:
    """Return x weighted by how far each value is from the mean of its channel.

    x * sigmoid( (x - mean)^2 / (4 (var + 1e-4)) + 0.5 ), var unbiased over bins and frames of
    (batch, channels, bins, frames).
    """
    var, mean = torch.var_mean(x, dim=(2, 3), keepdim=True, unbiased=True)
    scale = 0.25 / (var + ENERGY_FLOOR)
    return x * torch.sigmoid((x - mean).square() * scale + 0.5)


class SimamBlock(nn.Module):
    """Residual block of two 3x3 convolutions with SimAM on the second."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride=stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = make_shortcut(in_channels, channels, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, bins, frames) to (batch, channels, bins', frames')."""
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        out = simam(self.bn2(self.conv2(out)))
        return functional.relu(out + self.downsample(x), inplace=True)


class SimamTrunk(nn.Module):
    """Stem and four stages."""

    def __init__(self, channels: int, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = conv3x3(1, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        seen = channels
        stages = []
        for number, (count, stride) in enumerate(zip(blocks, STRIDES, strict=True)):
            width = channels * 2**number
            steps = [stride, *[1] * (count - 1)]
            stage = nn.Sequential()
            for step in steps:
                stage.append(SimamBlock(seen, width, stride=step))
                seen = width
            stages.append(stage)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, bins, frames) to (batch, 8 * channels, bins / 8, frames / 8)."""
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        maps: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        return maps


class SimamResNetSettings(EncoderSettings):
    """Sizes of a SimAM-ResNet."""

    embedding_dim: int = Field(256, ge=1, description="size of the embedding")
    channels: int = Field(64, ge=1, description="channels of the first stage")
    blocks: tuple[int, int, int, int] = Field((3, 4, 6, 3), description="blocks of each stage")
    pooling: str = Field("ASP", description="name of the pooling")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of statistics dropped in training")


class SimamResNet(SpeakerEncoder):
    """The trunk, attentive statistics, dropout, one linear layer."""

    def __init__(self, settings: SimamResNetSettings) -> None:
        super().__init__()
        self.feat_dim = settings.feat_dim
        self.embedding_dim = settings.embedding_dim
        self.front = SimamTrunk(settings.channels, settings.blocks)
        map_dim = 8 * settings.channels * halve(settings.feat_dim, 3)
        self.pooling = make_pooling(settings.pooling, map_dim)
        self.dropout = nn.Dropout(settings.dropout)
        self.bottleneck = nn.Linear(self.pooling.out_dim, settings.embedding_dim)
        self.min_frames = 8 * (self.pooling.min_frames - 1) + 1

    def forward(self, feats: Tensor) -> Tensor:
        """Map (batch, frames, feat_dim) to (batch, embedding_dim)."""
        self.check_feats(feats)
        stats = self.pooling(self.front(as_image(feats)))
        embedding: Tensor = self.bottleneck(self.dropout(stats))
        return embedding


def _build(name: str, blocks: tuple[int, ...], overrides: dict[str, Any]) -> SimamResNet:
    values = {"blocks": blocks, **overrides}
    return SimamResNet(build_settings(SimamResNetSettings, values, where=name))


def simam_resnet34(**overrides: Any) -> SimamResNet:
    """Return SimAM-ResNet34 with attentive statistics (25.2 M parameters)."""
    return _build("simam_resnet34", (3, 4, 6, 3), overrides)


def simam_resnet100(**overrides: Any) -> SimamResNet:
    """Return SimAM-ResNet100 with attentive statistics (50.2 M parameters)."""
    return _build("simam_resnet100", (6, 16, 24, 3), overrides)
