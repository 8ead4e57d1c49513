"""Pieces that several families share: convolutions, the clipped ReLU, fusion, the segment head.

Legend: B batch, C channels, F frequency bins, T frames.
"""

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.models.pooling import make_pooling
from sv_cli.models.protocol import EncoderSettings, SpeakerEncoder


def conv1x1(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    """Return a 1x1 convolution without bias."""
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


def conv3x3(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution without bias, padded to ceil(n / stride)."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def make_shortcut(in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential:
    """Return the projection of a residual block; empty where the shape stays."""
    if stride == 1 and in_channels == out_channels:
        return nn.Sequential()
    return nn.Sequential(
        conv1x1(in_channels, out_channels, stride=stride), nn.BatchNorm2d(out_channels)
    )


def clipped_relu(x: Tensor) -> Tensor:
    """Return x clipped to [0, 20], in place: the activation inside Res2Net-type blocks."""
    return functional.hardtanh(x, 0.0, 20.0, inplace=True)


def as_image(feats: Tensor) -> Tensor:
    """Return features (B, T, F) as a map of one channel (B, 1, F, T), without a copy."""
    return feats.transpose(1, 2).unsqueeze(1)


def halve(num_bins: int, times: int) -> int:
    """Return what is left of `num_bins` after `times` convolutions of stride 2."""
    for _ in range(times):
        num_bins = (num_bins + 1) // 2
    return num_bins


class AFF(nn.Module):
    """Attentional feature fusion: a gate in (0, 2) shares out two maps of equal shape.

    Source: Dai et al., WACV 2021, as 3D-Speaker's ERes2Net has it.
    """

    def __init__(self, channels: int, *, reduction: int = 4) -> None:
        super().__init__()
        inner = channels // reduction
        self.local_att = nn.Sequential(
            nn.Conv2d(2 * channels, inner, 1),
            nn.BatchNorm2d(inner),
            nn.SiLU(inplace=True),
            nn.Conv2d(inner, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return x * (1 + g) + y * (1 - g), g = tanh(attention of [x, y])."""
        gate = torch.tanh(self.local_att(torch.cat([x, y], dim=1)))
        return torch.addcmul(x + y, gate, x - y)


class SegmentSettings(EncoderSettings):
    """Settings of networks that end in pooling and one or two linear layers."""

    pooling: str = Field("TSTP", description="name of the pooling")
    pooling_eps: float | None = Field(None, ge=0, description="its floor; none: the usual one")
    two_emb_layer: bool = Field(False, description="a second linear layer after the embedding")


class SegmentEncoder(SpeakerEncoder):
    """Base of networks whose tail is `pool`, `seg_1` and perhaps `seg_bn_1`, `seg_2`."""

    def make_tail(self, map_dim: int, settings: SegmentSettings, *, frame_stride: int) -> None:
        """Add the tail to a trunk of `map_dim` channels (times bins), one frame of `frame_stride`.

        Sets `feat_dim`, `embedding_dim` and `min_frames` too.
        """
        options: dict[str, Any] = {}
        if settings.pooling_eps is not None:
            options["eps"] = settings.pooling_eps
        self.pool = make_pooling(settings.pooling, map_dim, **options)
        self.feat_dim = settings.feat_dim
        self.embedding_dim = settings.embedding_dim
        # n frames leave ceil(n / stride).
        self.min_frames = (self.pool.min_frames - 1) * frame_stride + 1
        self.seg_1 = nn.Linear(self.pool.out_dim, settings.embedding_dim)
        self.two_emb_layer = settings.two_emb_layer
        if self.two_emb_layer:
            self.seg_bn_1 = nn.BatchNorm1d(settings.embedding_dim, affine=False)
            self.seg_2 = nn.Linear(settings.embedding_dim, settings.embedding_dim)

    def embed(self, x: Tensor) -> Tensor:
        """Return the embedding of a map (B, C, F, T)."""
        first: Tensor = self.seg_1(self.pool(x))
        if not self.two_emb_layer:
            return first
        second: Tensor = self.seg_2(self.seg_bn_1(functional.relu(first)))
        return second


@dataclass(frozen=True)
class Res2Shape:
    """What the blocks of a Res2Net-type family have in common.

    Attributes
    ----------
    base_width : int
        A group has `planes * base_width // 64` channels.
    scale : int
        Groups.
    expansion : int
        Channels out over planes.
    num_convs : int
        Groups that are convolved; Res2Net passes the last one through.
    """

    base_width: int
    scale: int
    expansion: int
    num_convs: int


class Res2Block(nn.Module):
    """Residual block whose 3x3 convolutions act on groups of channels, each fed by the one before.

    Parameters
    ----------
    in_channels, planes : int
        Channels in; the output has `planes * expansion`.
    stride : int
        Of the first 1x1 convolution, on both axes.
    shape : Res2Shape
        Width, scale and expansion of the family.
    fuse : bool
        Groups are joined by AFF instead of a sum.
    """

    def __init__(
        self, in_channels: int, planes: int, *, stride: int, shape: Res2Shape, fuse: bool
    ) -> None:
        super().__init__()
        width = planes * shape.base_width // 64
        self.width = width
        self.conv1 = conv1x1(in_channels, width * shape.scale, stride=stride)
        self.bn1 = nn.BatchNorm2d(width * shape.scale)
        self.convs = nn.ModuleList(conv3x3(width, width) for _ in range(shape.num_convs))
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(shape.num_convs))
        if fuse:
            self.fuse_models = nn.ModuleList(AFF(width) for _ in range(shape.num_convs - 1))
        self.fuse = fuse
        out_channels = planes * shape.expansion
        self.conv3 = conv1x1(width * shape.scale, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = make_shortcut(in_channels, out_channels, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, (B, planes * expansion, F', T')."""
        groups = torch.split(clipped_relu(self.bn1(self.conv1(x))), self.width, dim=1)
        done: list[Tensor] = []
        for i, (conv, bn) in enumerate(zip(self.convs, self.bns, strict=True)):
            group = groups[i] if i == 0 else self._join(i, done[-1], groups[i])
            done.append(clipped_relu(bn(conv(group))))
        out: Tensor = self.bn3(self.conv3(torch.cat([*done, *groups[len(done) :]], dim=1)))
        out += self.shortcut(x)
        return clipped_relu(out)

    def _join(self, i: int, before: Tensor, group: Tensor) -> Tensor:
        if not self.fuse:
            return before + group
        joined: Tensor = self.fuse_models[i - 1](before, group)
        return joined


def make_stages(
    m_channels: int,
    num_blocks: tuple[int, int, int, int],
    *,
    shape: Res2Shape,
    fused_from: int = 4,
) -> list[nn.Sequential]:
    """Return the four stages of a Res2Net-type trunk.

    Parameters
    ----------
    m_channels : int
        Channels of the stem; stage i (from 0) has `m_channels * 2**i` planes.
    num_blocks : 4 ints
        Blocks a stage; the first of each stage but the first strides by 2.
    shape : Res2Shape
    fused_from : int
        First stage whose groups are joined by AFF.
    """
    stages = []
    channels = m_channels
    for i, depth in enumerate(num_blocks):
        planes = m_channels * 2**i
        blocks: list[nn.Module] = []
        for k in range(depth):
            stride = 2 if i > 0 and k == 0 else 1
            blocks.append(
                Res2Block(channels, planes, stride=stride, shape=shape, fuse=i >= fused_from)
            )
            channels = planes * shape.expansion
        stages.append(nn.Sequential(*blocks))
    return stages
