"""Gemini DF-ResNet: deep, thin, depth-first residual networks.

Paper: Liu et al., "Depth-first neural architecture with attentive feature fusion for efficient
speaker verification", 2023; strides of Gemini (Liu et al., "Golden Gemini is all you need", 2023).
State-dict keys are those of WeSpeaker's `gemini_dfresnet.py`.
"""

from typing import Any

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.models.blocks import SegmentEncoder, SegmentSettings, as_image, conv1x1, conv3x3, halve
from sv_cli.settings.model import build_settings

WIDTHS = (32, 64, 128, 256)
STRIDES = ((2, 1), (2, 2), (2, 1), (2, 1))  # frequency, time
EXPANSION = 4


class InvertedBlock(nn.Module):
    """1x1 to four times the channels, depth-wise 3x3, 1x1 back, and the input added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.conv1 = conv1x1(channels, wide)
        self.bn1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.conv3 = conv1x1(wide, channels)
        self.bn3 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels, bins, frames)."""
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        out = functional.relu(self.bn2(self.conv2(out)), inplace=True)
        return functional.relu(self.bn3(self.conv3(out)) + x, inplace=True)


class DfResNetSettings(SegmentSettings):
    """Sizes of a DF-ResNet."""

    embedding_dim: int = Field(256, ge=1, description="size of the embedding")
    depths: tuple[int, int, int, int] = Field((3, 3, 9, 3), description="blocks of each stage")


class DfResNet(SegmentEncoder):
    """Four down-samplings, each with its stage of inverted blocks."""

    def __init__(self, settings: DfResNetSettings) -> None:
        super().__init__()
        stem = nn.Sequential(conv3x3(1, WIDTHS[0]), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU())
        self.downsample_layers = nn.ModuleList([stem])
        self.stages = nn.ModuleList()
        seen = WIDTHS[0]
        for depth, width, stride in zip(settings.depths, WIDTHS, STRIDES, strict=True):
            down = nn.Conv2d(seen, width, 3, stride=stride, padding=1, bias=False)
            self.downsample_layers.append(nn.Sequential(down, nn.BatchNorm2d(width)))
            self.stages.append(nn.Sequential(*[InvertedBlock(width) for _ in range(depth)]))
            seen = width
        self.make_tail(seen * halve(settings.feat_dim, 4), settings, frame_stride=2)

    def forward(self, feats: Tensor) -> Tensor:
        """Map (batch, frames, feat_dim) to (batch, embedding_dim)."""
        self.check_feats(feats)
        stem, *downs = self.downsample_layers
        out = stem(as_image(feats))
        for down, stage in zip(downs, self.stages, strict=True):
            out = stage(down(out))
        return self.embed(out)


def _build(name: str, depths: tuple[int, ...], overrides: dict[str, Any]) -> DfResNet:
    values = {"depths": depths, **overrides}
    return DfResNet(build_settings(DfResNetSettings, values, where=name))


def dfresnet60(**overrides: Any) -> DfResNet:
    """Return Gemini DF-ResNet60 (4.05 M parameters)."""
    return _build("dfresnet60", (3, 3, 9, 3), overrides)


def dfresnet114(**overrides: Any) -> DfResNet:
    """Return Gemini DF-ResNet114 (6.53 M parameters)."""
    return _build("dfresnet114", (3, 3, 27, 3), overrides)


def dfresnet183(**overrides: Any) -> DfResNet:
    """Return Gemini DF-ResNet183 (9.20 M parameters)."""
    return _build("dfresnet183", (3, 8, 45, 3), overrides)


def dfresnet237(**overrides: Any) -> DfResNet:
    """Return Gemini DF-ResNet237 (11.7 M parameters)."""
    return _build("dfresnet237", (3, 8, 63, 3), overrides)
