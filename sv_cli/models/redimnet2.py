"""ReDimNet2: ReDimNet whose stages also shorten time, and stretch it again for the sum of maps.

Paper: "ReDimNet2", Interspeech 2026 (arXiv:2603.11841).
State-dict keys are those of WeSpeaker's `redimnet2.py`, which follows the authors' release.
Letters as in `redimnet`; blocks are shared with it.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.models.blocks import as_image
from sv_cli.models.pooling import make_pooling
from sv_cli.models.protocol import EncoderSettings, SpeakerEncoder
from sv_cli.models.redimnet import (
    NORM_EPS,
    BlockKind,
    ContextBlock,
    GridBlock,
    ToGrid,
    ToVectors,
    make_stem,
    mix_maps,
)
from sv_cli.settings.model import Settings, build_settings


class MixMaps(nn.Module):
    """Weighted sum of the maps so far; the weight of a single map is not learned."""

    def __init__(self, num_maps: int, channels: int) -> None:
        super().__init__()
        zeros = torch.zeros(1, num_maps, channels, 1)
        self.w = nn.Parameter(zeros, requires_grad=num_maps > 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return (batch, channels, frames)."""
        return mix_maps(maps, self.w)


class Stretch(nn.Module):
    """Repeat each frame, to undo a time stride."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, channels, frames) to (batch, channels, factor * frames)."""
        if self.factor == 1:
            return maps
        return functional.interpolate(maps, scale_factor=float(self.factor), mode="nearest")


class Stage2Settings(Settings):
    """One stage: its strides, its 2-D blocks and its 1-D block."""

    freq_stride: int = Field(1, ge=1, description="bins merged into one")
    time_stride: int = Field(1, ge=1, description="factor on the time stride of the stage before")
    blocks: int = Field(1, ge=1, description="number of 2-D blocks")
    expansion: float = Field(1.0, gt=0, description="factor on the channels of the 2-D blocks")
    reduction: int | None = Field(
        None, ge=1, description="divisor of the channels in the 1-D block; none: no such block"
    )


class ReDimNet2Settings(EncoderSettings):
    """Sizes of a ReDimNet2."""

    feat_dim: int = Field(72, ge=1, description="features a frame; a multiple of all strides")
    channels: int = Field(32, ge=1, description="channels of the stem")
    block: BlockKind = Field("resnet", description="kind of the 2-D blocks")
    group_size: int = Field(1, ge=1, description="channels in a group of a 2-D block")
    out_channels: int | None = Field(
        64, ge=1, description="channels of a last 1x1 convolution; none: no such convolution"
    )
    out_grid: bool = Field(False, description="that convolution acts on each bin (2-D)")
    pooling: str = Field("ASTP", description="name of the pooling")
    global_context: bool = Field(True, description="the attention sees mean and deviation too")
    embedding_norm: bool = Field(False, description="BatchNorm on the embedding")
    stages: tuple[Stage2Settings, ...] = Field((), description="the stages in order")


class ReDimNet2Backbone(nn.Module):
    """Features to one map (batch, out_dim, frames)."""

    def __init__(self, settings: ReDimNet2Settings) -> None:
        super().__init__()
        size = settings.channels * settings.feat_dim
        self.stem = make_stem(settings.channels)
        channels, bins, self.time_stride = settings.channels, settings.feat_dim, 1
        self.num_stages = len(settings.stages)
        for index, stage in enumerate(settings.stages):
            self.time_stride *= stage.time_stride
            mix = MixMaps(index + 1, size)
            layers = _make_stage(settings, stage, channels, bins, self.time_stride)
            self.add_module(f"stage{index}", nn.Sequential(mix, *layers))
            channels, bins = channels * stage.freq_stride, bins // stage.freq_stride
        self.fin_wght1d = MixMaps(self.num_stages + 1, size)
        self.head: nn.Module = nn.Identity()
        self.out_dim = size
        self.out_bins: int | None = None
        if settings.out_channels is not None and settings.out_grid:
            self.head = nn.Conv2d(channels, settings.out_channels, 1)
            self.out_dim, self.out_bins = settings.out_channels * bins, bins
        elif settings.out_channels is not None:
            self.head = nn.Conv1d(size, settings.out_channels, 1)
            self.out_dim = settings.out_channels

    def forward(self, grid: Tensor) -> Tensor:
        """Map (batch, 1, bins, frames) to (batch, out_dim, frames), without the odd last frames."""
        frames = grid.shape[-1] // self.time_stride * self.time_stride
        maps = [ToVectors()(self.stem(grid[..., :frames]))]
        for index in range(self.num_stages):
            maps.append(self.get_submodule(f"stage{index}")(maps))
        out = self.fin_wght1d(maps)
        if self.out_bins is not None:
            out = ToGrid(self.out_bins)(out)
        out = self.head(out)
        # A grid is flattened with its bins fastest, unlike the maps between stages.
        return out.flatten(1, 2) if out.dim() == 4 else out  # type: ignore[no-any-return]


def _make_stage(
    settings: ReDimNet2Settings, stage: Stage2Settings, channels: int, bins: int, time_stride: int
) -> list[nn.Module]:
    out_channels, out_bins = channels * stage.freq_stride, bins // stage.freq_stride
    wide = int(out_channels * stage.expansion)
    step = (stage.freq_stride, time_stride)
    groups = math.gcd(channels, wide)
    down = nn.Conv2d(channels, wide, step, stride=step, groups=groups)
    layers: list[nn.Module] = [ToGrid(bins), down]
    for _ in range(stage.blocks):
        layers.append(
            GridBlock(wide, bins=out_bins, kind=settings.block, group_size=settings.group_size)
        )
    if stage.expansion != 1:
        squeeze = nn.Conv2d(wide, out_channels, 1)
        layers.append(nn.Sequential(squeeze, nn.BatchNorm2d(out_channels, eps=NORM_EPS)))
    layers.append(ToVectors())
    if stage.reduction is not None:
        size = out_channels * out_bins
        layers.append(ContextBlock(size, size // stage.reduction))
    layers.append(Stretch(time_stride))
    return layers


class ReDimNet2(SpeakerEncoder):
    """The backbone, attentive statistics, BatchNorm and one linear layer."""

    def __init__(self, settings: ReDimNet2Settings) -> None:
        super().__init__()
        self.feat_dim = settings.feat_dim
        self.embedding_dim = settings.embedding_dim
        self.backbone = ReDimNet2Backbone(settings)
        options = {"global_context": True} if settings.global_context else {}
        self.pool = make_pooling(settings.pooling, self.backbone.out_dim, **options)
        self.bn = nn.BatchNorm1d(self.pool.out_dim)
        self.linear = nn.Linear(self.pool.out_dim, settings.embedding_dim)
        self.bn2: nn.Module = nn.Identity()
        if settings.embedding_norm:
            self.bn2 = nn.BatchNorm1d(settings.embedding_dim)
        step = self.backbone.time_stride
        self.min_frames = step * math.ceil(self.pool.min_frames / step)

    def forward(self, feats: Tensor) -> Tensor:
        """Map (batch, frames, feat_dim) to (batch, embedding_dim)."""
        self.check_feats(feats)
        stats = self.bn(self.pool(self.backbone(as_image(feats))))
        embedding: Tensor = self.bn2(self.linear(stats))
        return embedding


# Frequency and time strides of the six stages of every published size.
_STRIDES = ((1, 1), (2, 1), (1, 2), (2, 1), (1, 2), (2, 1))

# Blocks, expansion, reduction of a stage.
Row = tuple[int, float, int]


def _build(name: str, defaults: dict[str, Any], overrides: dict[str, Any]) -> ReDimNet2:
    return ReDimNet2(build_settings(ReDimNet2Settings, defaults | overrides, where=name))


def _stages(*rows: Row, strides: tuple[tuple[int, int], ...] = _STRIDES) -> list[dict[str, float]]:
    names = list(Stage2Settings.model_fields)
    return [
        dict(zip(names, (*stride, *row), strict=True))
        for stride, row in zip(strides, rows, strict=True)
    ]


def redimnet2_b0(**overrides: Any) -> ReDimNet2:
    """Return ReDimNet2-B0 (0.70 M parameters)."""
    stages = _stages((2, 2, 36), (3, 1, 36), (4, 1, 36), (5, 1, 36), (4, 1, 18), (3, 1, 18))
    return _build("redimnet2_b0", {"channels": 12, "stages": stages}, overrides)


def redimnet2_b1(**overrides: Any) -> ReDimNet2:
    """Return ReDimNet2-B1 (1.26 M parameters)."""
    stages = _stages((2, 2, 32), (3, 1, 32), (4, 1, 32), (5, 1, 32), (4, 1, 16), (3, 1, 16))
    return _build("redimnet2_b1", {"channels": 16, "stages": stages}, overrides)


def redimnet2_b2(**overrides: Any) -> ReDimNet2:
    """Return ReDimNet2-B2 (2.53 M parameters)."""
    strides = ((1, 1), (2, 1), (1, 2), (3, 1), (1, 2), (2, 1))
    rows = ((2, 2, 40), (3, 1, 30), (4, 1, 30), (5, 1, 20), (4, 1, 20), (3, 1, 10))
    stages = _stages(*rows, strides=strides)
    return _build("redimnet2_b2", {"channels": 20, "stages": stages}, overrides)


def redimnet2_b3(**overrides: Any) -> ReDimNet2:
    """Return ReDimNet2-B3 (2.37 M parameters)."""
    stages = _stages((2, 2, 36), (3, 1, 36), (4, 1, 36), (5, 1, 36), (4, 1, 18), (3, 1, 18))
    return _build("redimnet2_b3", {"channels": 24, "stages": stages}, overrides)


def redimnet2_b4(**overrides: Any) -> ReDimNet2:
    """Return ReDimNet2-B4 (6.66 M parameters)."""
    stages = _stages((2, 4, 24), (3, 3, 24), (4, 2, 24), (5, 1, 24), (4, 1, 24), (3, 1, 24))
    sizes = {"channels": 32, "out_channels": None}
    return _build("redimnet2_b4", {**sizes, "stages": stages}, overrides)


def redimnet2_b5(**overrides: Any) -> ReDimNet2:
    """Return ReDimNet2-B5 (7.90 M parameters)."""
    stages = _stages((2, 4, 48), (3, 3, 48), (4, 2, 48), (5, 1, 48), (4, 1, 32), (3, 1, 32))
    sizes = {"channels": 48, "out_channels": 256}
    return _build("redimnet2_b5", {**sizes, "stages": stages}, overrides)


def redimnet2_b6(**overrides: Any) -> ReDimNet2:
    """Return ReDimNet2-B6 (12.4 M parameters)."""
    stages = _stages((3, 3, 64), (4, 2, 64), (5, 2, 48), (5, 1, 48), (4, 0.75, 32), (3, 0.5, 24))
    sizes = {"channels": 64, "out_channels": 224, "out_grid": True}
    return _build("redimnet2_b6", {**sizes, "stages": stages}, overrides)
