"""ResNet: 2-D residual networks on the spectrogram, no max-pooling.

Paper: He et al., CVPR 2016; r-vector: Zeinali et al., arXiv:1910.12592. WeSpeaker's networks and
3D-Speaker's ResNet34 have the same graph and the same state-dict keys; they differ by the floor in
the pooling and by the second linear layer.
"""

from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.models.blocks import (
    SegmentEncoder,
    SegmentSettings,
    as_image,
    conv1x1,
    conv3x3,
    halve,
    make_shortcut,
)
from sv_cli.settings.model import build_settings


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, planes: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, planes, stride=stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = make_shortcut(in_channels, planes, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return functional.relu(out, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 (which strides) and 1x1 convolution to four times the planes, and the shortcut."""

    expansion = 4

    def __init__(self, in_channels: int, planes: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = conv1x1(in_channels, planes)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes, stride=stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = conv1x1(planes, planes * self.expansion)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.shortcut = make_shortcut(in_channels, planes * self.expansion, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        out = functional.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        out += self.shortcut(x)
        return functional.relu(out, inplace=True)


class ResNet(SegmentEncoder):
    """Stem and four stages of residual blocks."""

    def __init__(self, settings: "ResNetSettings") -> None:
        super().__init__()
        m = settings.m_channels
        block = BasicBlock if settings.block == "basic" else Bottleneck
        self.conv1 = conv3x3(1, m)
        self.bn1 = nn.BatchNorm2d(m)
        stages = [
            _stage(block, m if i == 0 else m * 2 ** (i - 1) * block.expansion, m * 2**i, depth)
            for i, depth in enumerate(settings.num_blocks)
        ]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        channels = 8 * m * block.expansion
        self.make_tail(channels * halve(settings.feat_dim, 3), settings, frame_stride=8)

    def forward(self, feats: Tensor) -> Tensor:
        """Return embeddings; see `SpeakerEncoder`."""
        self.check_feats(feats)
        x = functional.relu(self.bn1(self.conv1(as_image(feats))), inplace=True)
        return self.embed(self.layer4(self.layer3(self.layer2(self.layer1(x)))))


def _stage(
    block: type[BasicBlock] | type[Bottleneck], channels: int, planes: int, depth: int
) -> nn.Sequential:
    # Only the first stage has as many planes as the stem has channels, and does not stride.
    stride = 1 if channels == planes else 2
    first = block(channels, planes, stride=stride)
    rest = [block(planes * block.expansion, planes, stride=1) for _ in range(depth - 1)]
    return nn.Sequential(first, *rest)


class ResNetSettings(SegmentSettings):
    """Sizes of a ResNet."""

    embedding_dim: int = Field(256, ge=1, description="size of the embedding")
    m_channels: int = Field(32, ge=1, description="channels of the stem")
    block: Literal["basic", "bottleneck"] = Field("basic", description="kind of block")
    num_blocks: tuple[int, int, int, int] = Field((3, 4, 6, 3), description="blocks a stage")


def build(
    block: str, num_blocks: tuple[int, int, int, int], overrides: dict[str, Any], **preset: Any
) -> ResNet:
    """Return a ResNet of these blocks with some settings changed."""
    values = {"block": block, "num_blocks": num_blocks, **preset, **overrides}
    return ResNet(build_settings(ResNetSettings, values, where="model"))


def resnet18(**overrides: Any) -> ResNet:
    """`ResNet18` of WeSpeaker."""
    return build("basic", (2, 2, 2, 2), overrides)


def resnet34(**overrides: Any) -> ResNet:
    """`ResNet34` of WeSpeaker."""
    return build("basic", (3, 4, 6, 3), overrides)


def resnet34_3dspeaker(**overrides: Any) -> ResNet:
    """ResNet34 of 3D-Speaker, with two linear layers."""
    preset = {"embedding_dim": 192, "pooling_eps": 1e-8, "two_emb_layer": True}
    return build("basic", (3, 4, 6, 3), overrides, **preset)


def resnet50(**overrides: Any) -> ResNet:
    """`ResNet50` of WeSpeaker."""
    return build("bottleneck", (3, 4, 6, 3), overrides)


def resnet101(**overrides: Any) -> ResNet:
    """`ResNet101` of WeSpeaker."""
    return build("bottleneck", (3, 4, 23, 3), overrides)


def resnet152(**overrides: Any) -> ResNet:
    """`ResNet152` of WeSpeaker."""
    return build("bottleneck", (3, 8, 36, 3), overrides)


def resnet221(**overrides: Any) -> ResNet:
    """`ResNet221` of WeSpeaker."""
    return build("bottleneck", (6, 16, 48, 3), overrides)


def resnet293(**overrides: Any) -> ResNet:
    """`ResNet293` of WeSpeaker."""
    return build("bottleneck", (10, 20, 64, 3), overrides)
