"""ERes2NetV2: ERes2Net with wider groups and fusion of the last two stages only.

Paper: Chen et al., "ERes2NetV2: Boosting Short-Duration Speaker Verification Performance with
Computational Efficiency", Interspeech 2024 (arXiv:2406.02167). Layout and state-dict keys are
3D-Speaker's (`ERes2NetV2.py`).
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


class ERes2NetV2(SegmentEncoder):
    """Four stages; the outputs of the last two are fused."""

    def __init__(self, settings: "ERes2NetV2Settings") -> None:
        super().__init__()
        m = settings.m_channels
        shape = Res2Shape(settings.base_width, settings.scale, settings.expansion, settings.scale)
        width = m * settings.expansion
        self.conv1 = conv3x3(1, m)
        self.bn1 = nn.BatchNorm2d(m)
        stages = make_stages(m, settings.num_blocks, shape=shape, fused_from=2)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.layer3_ds = conv3x3(4 * width, 8 * width, stride=2)
        self.fuse34 = AFF(8 * width)
        self.make_tail(8 * width * halve(settings.feat_dim, 3), settings, frame_stride=8)

    def forward(self, feats: Tensor) -> Tensor:
        """Return embeddings; see `SpeakerEncoder`."""
        self.check_feats(feats)
        x = functional.relu(self.bn1(self.conv1(as_image(feats))), inplace=True)
        out3 = self.layer3(self.layer2(self.layer1(x)))
        out4 = self.layer4(out3)
        return self.embed(self.fuse34(out4, self.layer3_ds(out3)))


class ERes2NetV2Settings(SegmentSettings):
    """Sizes of an ERes2NetV2."""

    m_channels: int = Field(64, ge=1, description="channels of the stem")
    num_blocks: tuple[int, int, int, int] = Field((3, 4, 6, 3), description="blocks a stage")
    base_width: int = Field(26, ge=1, description="channels of a group at 64 planes")
    scale: int = Field(2, ge=1, description="groups a block")
    expansion: int = Field(2, ge=1, description="channels out over planes")
    pooling_eps: float | None = Field(1e-8, ge=0, description="floor of the pooling")


def eres2netv2(**overrides: Any) -> ERes2NetV2:
    """ERes2NetV2 of 3D-Speaker."""
    return ERes2NetV2(build_settings(ERes2NetV2Settings, overrides, where="model"))


def eres2netv2_w24s4ep4(**overrides: Any) -> ERes2NetV2:
    """ERes2NetV2 of 3D-Speaker with base width 24, four groups and expansion 4."""
    return eres2netv2(**{"base_width": 24, "scale": 4, "expansion": 4, **overrides})
