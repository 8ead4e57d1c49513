"""ReDimNet2: ReDimNet whose stages also shorten time, and stretch it again for the sum of maps.

Paper: "ReDimNet2", Interspeech 2026 (arXiv:2603.11841).
State-dict keys and sizes are those of the authors' release (PalabraAI/redimnet2).
Letters as in `redimnet`; blocks are shared with it.
"""

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from pydantic import Field, model_validator
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


# Frequency and time strides of the six stages of every published size but B2.
_STRIDES = ((1, 1), (2, 1), (1, 2), (2, 1), (1, 2), (2, 1))

# Blocks, expansion, reduction of a stage.
Row = tuple[int, float, int]


def _stages(
    *rows: Row, strides: tuple[tuple[int, int], ...] = _STRIDES
) -> tuple[Stage2Settings, ...]:
    names = list(Stage2Settings.model_fields)
    return tuple(
        Stage2Settings.model_validate(dict(zip(names, (*stride, *row), strict=True)))
        for stride, row in zip(strides, rows, strict=True)
    )


_B3_STAGES = _stages((2, 4, 24), (3, 3, 24), (4, 2, 24), (5, 1, 24), (4, 1, 24), (3, 1, 24))


class ReDimNet2Settings(EncoderSettings):
    """Sizes of a ReDimNet2; the defaults are those of the authors' code."""

    feat_dim: int = Field(72, ge=1, description="features a frame; a multiple of all strides")
    channels: int = Field(24, ge=1, description="channels of the stem")
    block: BlockKind = Field("resnet", description="kind of the 2-D blocks")
    group_size: int = Field(1, ge=1, description="channels in a group of a 2-D block")
    compress_tconvs: bool = Field(True, description="grouped strided convolutions of the stages")
    out_channels: int | None = Field(
        None, ge=1, description="channels of a last 1x1 convolution; none: no such convolution"
    )
    return_2d_output: bool = Field(
        False,
        description="the last map is a grid: its convolution acts on each bin, and the pooling "
        "reads all bins of a channel in a row",
    )
    agg_gnorm: bool | int = Field(
        False,
        ge=0,
        description="GroupNorm on each map before it is mixed: true for `channels` groups, or "
        "their number",
    )
    dual_agg: bool = Field(
        False, description="a stage adds its map before the 1-D block, too, not only the one after"
    )
    pooling: str = Field("ASTP", description="name of the pooling")
    global_context: bool = Field(True, description="the attention sees mean and deviation too")
    embedding_norm: bool = Field(False, description="BatchNorm on the embedding")
    stages: tuple[Stage2Settings, ...] = Field(_B3_STAGES, description="the stages in order")

    @property
    def map_size(self) -> int:
        """Channels times bins of every map."""
        return self.channels * self.feat_dim

    @property
    def norm_groups(self) -> int:
        """Groups of the GroupNorm of a map; 0 is without."""
        return self.channels if self.agg_gnorm is True else int(self.agg_gnorm)

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        if self.norm_groups and self.map_size % self.norm_groups:
            raise ValueError(
                f"`agg_gnorm` {self.norm_groups} does not divide the {self.map_size} values of a "
                "frame"
            )
        return self


class ReDimNet2Backbone(nn.Module):
    """Features to one map (batch, out_dim, frames)."""

    def __init__(self, settings: ReDimNet2Settings) -> None:
        super().__init__()
        self.stem = make_stem(settings.channels)
        self.stem_gnorm: nn.Module = nn.Identity()
        if settings.norm_groups:
            self.stem_gnorm = nn.GroupNorm(settings.norm_groups, settings.map_size)
        channels, bins, self.time_stride, num_maps = settings.channels, settings.feat_dim, 1, 1
        self.num_stages = len(settings.stages)
        for index, stage in enumerate(settings.stages):
            self.time_stride *= stage.time_stride
            layers = [
                MixMaps(num_maps, settings.map_size),
                *_make_grid_layers(settings, stage, channels, bins, self.time_stride),
            ]
            num_maps += self._add_stage(f"stage{index}", layers, settings, stage.reduction)
            channels, bins = channels * stage.freq_stride, bins // stage.freq_stride
        self.fin_wght1d = MixMaps(num_maps, settings.map_size)
        self.last_bins = bins if settings.return_2d_output else None
        self.head: nn.Module = nn.Identity()
        self.out_dim = settings.map_size
        if settings.out_channels is not None and settings.return_2d_output:
            self.head = nn.Conv2d(channels, settings.out_channels, 1)
            self.out_dim = settings.out_channels * bins
        elif settings.out_channels is not None:
            self.head = nn.Conv1d(settings.map_size, settings.out_channels, 1)
            self.out_dim = settings.out_channels

    def _add_stage(
        self,
        name: str,
        layers: list[nn.Module],
        settings: ReDimNet2Settings,
        reduction: int | None,
    ) -> int:
        """Add a stage; return how many maps it gives."""
        if reduction is not None:
            context = ContextBlock(settings.map_size, settings.map_size // reduction)
            if settings.dual_agg:
                self.add_module(f"{name}_pre", nn.Sequential(*layers))
                self.add_module(f"{name}_1d", context)
                for kind in ("2d", "1d"):
                    up = nn.Sequential(*_make_up_layers(settings, self.time_stride))
                    self.add_module(f"{name}_up_{kind}", up)
                return 2
            layers.append(context)
        self.add_module(name, nn.Sequential(*layers, *_make_up_layers(settings, self.time_stride)))
        return 1

    def forward(self, grid: Tensor) -> Tensor:
        """Map (batch, 1, bins, frames) to (batch, out_dim, frames), without the odd last frames."""
        frames = grid.shape[-1] // self.time_stride * self.time_stride
        maps = [self.stem_gnorm(ToVectors()(self.stem(grid[..., :frames])))]
        for index in range(self.num_stages):
            maps += self._run_stage(f"stage{index}", maps)
        out: Tensor = self.fin_wght1d(maps)
        if self.last_bins is None:
            return self.head(out)  # type: ignore[no-any-return]
        # A grid is flattened with its bins fastest, unlike the maps between stages.
        return self.head(ToGrid(self.last_bins)(out)).flatten(1, 2)  # type: ignore[no-any-return]

    def _run_stage(self, name: str, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps that a stage adds."""
        if hasattr(self, name):
            return [self.get_submodule(name)(maps)]
        before = self.get_submodule(f"{name}_pre")(maps)
        after = self.get_submodule(f"{name}_1d")(before)
        return [
            self.get_submodule(f"{name}_up_2d")(before),
            self.get_submodule(f"{name}_up_1d")(after),
        ]


def _make_grid_layers(
    settings: ReDimNet2Settings, stage: Stage2Settings, channels: int, bins: int, time_stride: int
) -> list[nn.Module]:
    """Return the layers of a stage between the sum of maps and its 1-D block."""
    out_channels, out_bins = channels * stage.freq_stride, bins // stage.freq_stride
    wide = int(out_channels * stage.expansion)
    step = (stage.freq_stride, time_stride)
    groups = math.gcd(channels, wide) if settings.compress_tconvs else 1
    down = nn.Conv2d(channels, wide, step, stride=step, groups=groups)
    layers: list[nn.Module] = [ToGrid(bins), down]
    for _ in range(stage.blocks):
        layers.append(
            GridBlock(wide, bins=out_bins, kind=settings.block, group_size=settings.group_size)
        )
    if stage.expansion != 1:
        squeeze = nn.Conv2d(wide, out_channels, 1)
        layers.append(nn.Sequential(squeeze, nn.BatchNorm2d(out_channels, eps=NORM_EPS)))
    return [*layers, ToVectors()]


def _make_up_layers(settings: ReDimNet2Settings, time_stride: int) -> list[nn.Module]:
    """Return the layers that bring a map back to all frames, and its norm."""
    layers: list[nn.Module] = [Stretch(time_stride)]
    if settings.norm_groups:
        layers.append(nn.GroupNorm(settings.norm_groups, settings.map_size))
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


SIZES: dict[str, dict[str, Any]] = {
    "redimnet2_b0": {
        "channels": 12,
        "out_channels": 64,
        "stages": _stages(
            (2, 2, 36), (3, 1, 36), (4, 1, 36), (5, 1, 36), (4, 1, 18), (3, 1, 18)
        ),
    },
    "redimnet2_b1": {
        "channels": 16,
        "stages": _stages(
            (2, 2, 32), (3, 1, 32), (4, 1, 32), (5, 1, 32), (4, 1, 16), (3, 1, 16)
        ),
    },
    "redimnet2_b2": {
        "channels": 20,
        "stages": _stages(
            (2, 2, 40), (3, 1, 30), (4, 1, 30), (5, 1, 20), (4, 1, 20), (3, 1, 10),
            strides=((1, 1), (2, 1), (1, 2), (3, 1), (1, 2), (2, 1)),
        ),
    },
    "redimnet2_b3": {"channels": 24},
    "redimnet2_b4": {"channels": 32},
    "redimnet2_b5": {
        "channels": 48,
        "out_channels": 256,
        "stages": _stages(
            (2, 4, 48), (3, 3, 48), (4, 2, 48), (5, 1, 48), (4, 1, 32), (3, 1, 32)
        ),
    },
    "redimnet2_b6": {
        "channels": 64,
        "out_channels": 224,
        "stages": _stages(
            (3, 3, 64), (4, 2, 64), (5, 2, 48), (5, 1, 48), (4, 0.75, 32), (3, 0.5, 24)
        ),
    },
}  # fmt: skip


def settings_of(name: str, **overrides: Any) -> ReDimNet2Settings:
    """Return the settings of a published size."""
    values = {"return_2d_output": True, **SIZES[name], **overrides}
    return build_settings(ReDimNet2Settings, values, where=name)


def redimnet2_b0(**overrides: Any) -> ReDimNet2:
    """Return ReDimNet2-B0 (1.12 M parameters)."""
    return ReDimNet2(settings_of("redimnet2_b0", **overrides))


def redimnet2_b1(**overrides: Any) -> ReDimNet2:
    """Return ReDimNet2-B1 (2.16 M parameters)."""
    return ReDimNet2(settings_of("redimnet2_b1", **overrides))


def redimnet2_b2(**overrides: Any) -> ReDimNet2:
    """Return ReDimNet2-B2 (3.68 M parameters)."""
    return ReDimNet2(settings_of("redimnet2_b2", **overrides))


def redimnet2_b3(**overrides: Any) -> ReDimNet2:
    """Return ReDimNet2-B3 (4.18 M parameters)."""
    return ReDimNet2(settings_of("redimnet2_b3", **overrides))


def redimnet2_b4(**overrides: Any) -> ReDimNet2:
    """Return ReDimNet2-B4 (6.66 M parameters)."""
    return ReDimNet2(settings_of("redimnet2_b4", **overrides))


def redimnet2_b5(**overrides: Any) -> ReDimNet2:
    """Return ReDimNet2-B5 (8.96 M parameters)."""
    return ReDimNet2(settings_of("redimnet2_b5", **overrides))


def redimnet2_b6(**overrides: Any) -> ReDimNet2:
    """Return ReDimNet2-B6 (12.4 M parameters)."""
    return ReDimNet2(settings_of("redimnet2_b6", **overrides))


def redimnet2_b6_wespeaker(**overrides: Any) -> ReDimNet2:
    """Return ReDimNet2-B6 of WeSpeaker: the same network, trained by its recipe."""
    return redimnet2_b6(**overrides)
