"""Res2Net34: residual blocks of channel groups, the last group passed through.

Paper: Gao et al., "Res2Net: A New Multi-scale Backbone Architecture", TPAMI 2021; for speakers
Zhou et al., SLT 2021. WeSpeaker's and 3D-Speaker's networks have the same graph and the same
state-dict keys; they differ by the floor in the pooling.
"""

from typing import Any

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.models.blocks import (
    Res2Shape,
    SegmentEncoder,
    SegmentSettings,
    as_image,
    conv3x3,
    halve,
    make_stages,
)
from sv_cli.settings.model import build_settings


class Res2Net(SegmentEncoder):
    """Stem and four stages of Res2 blocks."""

    def __init__(self, settings: "Res2NetSettings") -> None:
        super().__init__()
        m = settings.m_channels
        shape = Res2Shape(
            settings.base_width, settings.scale, settings.expansion, max(1, settings.scale - 1)
        )
        self.conv1 = conv3x3(1, m)
        self.bn1 = nn.BatchNorm2d(m)
        stages = make_stages(m, settings.num_blocks, shape=shape)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        channels = 8 * m * settings.expansion
        self.make_tail(channels * halve(settings.feat_dim, 3), settings, frame_stride=8)

    def forward(self, feats: Tensor) -> Tensor:
        """Return embeddings; see `SpeakerEncoder`."""
        self.check_feats(feats)
        x = functional.relu(self.bn1(self.conv1(as_image(feats))), inplace=True)
        return self.embed(self.layer4(self.layer3(self.layer2(self.layer1(x)))))


class Res2NetSettings(SegmentSettings):
    """Sizes of a Res2Net34."""

    m_channels: int = Field(32, ge=1, description="channels of the stem")
    num_blocks: tuple[int, int, int, int] = Field((3, 4, 6, 3), description="blocks a stage")
    base_width: int = Field(32, ge=1, description="channels of a group at 64 planes")
    scale: int = Field(2, ge=1, description="groups a block")
    expansion: int = Field(2, ge=1, description="channels out over planes")


def build(preset: dict[str, Any], overrides: dict[str, Any]) -> Res2Net:
    """Return the network of a preset with some settings changed."""
    return Res2Net(build_settings(Res2NetSettings, {**preset, **overrides}, where="model"))


def res2net34_base(**overrides: Any) -> Res2Net:
    """`Res2Net34_Base` of WeSpeaker."""
    return build({"embedding_dim": 256}, overrides)


def res2net34_large(**overrides: Any) -> Res2Net:
    """`Res2Net34_Large` of WeSpeaker."""
    return build({"m_channels": 64, "embedding_dim": 256}, overrides)


def res2net34_3dspeaker(**overrides: Any) -> Res2Net:
    """Res2Net of 3D-Speaker."""
    return build({"pooling_eps": 1e-8}, overrides)
