"""ERes2Net: Res2Net blocks with local and global attentional feature fusion.

Paper: Chen et al., "An Enhanced Res2Net with Local and Global Feature Fusion for Speaker
Verification", Interspeech 2023 (arXiv:2305.12838). The layout and the state-dict keys are
3D-Speaker's (`ERes2Net.py`, `ERes2Net_huge.py`); WeSpeaker's port is the same graph under other
keys, with another floor in the pooling.
"""

from typing import Any

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.models.blocks import (
    AFF,
    Res2Shape,
    SegmentEncoder,
    SegmentSettings,
    as_image,
    conv3x3,
    halve,
    make_stages,
)
from sv_cli.settings.model import build_settings


class ERes2Net(SegmentEncoder):
    """Four stages; a side path fuses each stage's output with all before it."""

    def __init__(self, settings: "ERes2NetSettings") -> None:
        super().__init__()
        m = settings.m_channels
        shape = Res2Shape(settings.base_width, settings.scale, settings.expansion, settings.scale)
        width = m * settings.expansion  # channels of the first stage's output
        self.conv1 = conv3x3(1, m)
        self.bn1 = nn.BatchNorm2d(m)
        stages = make_stages(m, settings.num_blocks, shape=shape, fused_from=2)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.layer1_downsample = conv3x3(width, 2 * width, stride=2)
        self.layer2_downsample = conv3x3(2 * width, 4 * width, stride=2)
        self.layer3_downsample = conv3x3(4 * width, 8 * width, stride=2)
        self.fuse_mode12 = AFF(2 * width)
        self.fuse_mode123 = AFF(4 * width)
        self.fuse_mode1234 = AFF(8 * width)
        self.make_tail(8 * width * halve(settings.feat_dim, 3), settings, frame_stride=8)

    def forward(self, feats: Tensor) -> Tensor:
        """Return embeddings; see `SpeakerEncoder`."""
        self.check_feats(feats)
        x = functional.relu(self.bn1(self.conv1(as_image(feats))), inplace=True)
        out1 = self.layer1(x)
        out2 = self.layer2(out1)
        fused = self.fuse_mode12(out2, self.layer1_downsample(out1))
        out3 = self.layer3(out2)
        fused = self.fuse_mode123(out3, self.layer2_downsample(fused))
        out4 = self.layer4(out3)
        return self.embed(self.fuse_mode1234(out4, self.layer3_downsample(fused)))


class ERes2NetSettings(SegmentSettings):
    """Sizes of an ERes2Net; 3D-Speaker's floor in the pooling."""

    m_channels: int = Field(32, ge=1, description="channels of the stem")
    num_blocks: tuple[int, int, int, int] = Field((3, 4, 6, 3), description="blocks a stage")
    base_width: int = Field(32, ge=1, description="channels of a group at 64 planes")
    scale: int = Field(2, ge=1, description="groups a block")
    expansion: int = Field(2, ge=1, description="channels out over planes")
    pooling_eps: float | None = Field(1e-8, ge=0, description="floor of the pooling")


def build(preset: dict[str, Any], overrides: dict[str, Any]) -> ERes2Net:
    """Return the network of a preset with some settings changed."""
    return ERes2Net(build_settings(ERes2NetSettings, {**preset, **overrides}, where="model"))


def eres2net_base(**overrides: Any) -> ERes2Net:
    """ERes2Net of 3D-Speaker with m_channels 32."""
    return build({}, overrides)


def eres2net_large(**overrides: Any) -> ERes2Net:
    """ERes2Net of 3D-Speaker with m_channels 64."""
    return build({"m_channels": 64}, overrides)


def eres2net_huge(**overrides: Any) -> ERes2Net:
    """`ERes2Net_huge` of 3D-Speaker, published as `eres2net_sv_zh-cn_16k-common`."""
    preset = {"m_channels": 64, "base_width": 24, "scale": 3, "expansion": 4}
    return build(preset, overrides)


def eres2net34_base(**overrides: Any) -> ERes2Net:
    """`ERes2Net34_Base` of WeSpeaker."""
    return build({"embedding_dim": 512, "pooling_eps": 1e-7}, overrides)


def eres2net34_large(**overrides: Any) -> ERes2Net:
    """`ERes2Net34_Large` of WeSpeaker."""
    return build({"m_channels": 64, "embedding_dim": 512, "pooling_eps": 1e-7}, overrides)


def eres2net34_aug(**overrides: Any) -> ERes2Net:
    """`ERes2Net34_aug` of WeSpeaker, the graph of `eres2net_huge`."""
    preset = {"m_channels": 64, "base_width": 24, "scale": 3, "expansion": 4}
    return build({**preset, "embedding_dim": 512, "pooling_eps": 1e-7}, overrides)
