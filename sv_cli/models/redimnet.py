"""ReDimNet: 2-D and 1-D blocks in turn on one map that is reshaped between them.

Paper: Yakovlev et al., "Reshape dimensions network for speaker recognition", Interspeech 2024.
State-dict keys are those of WeSpeaker's `redimnet.py`; with `pooled_norm` they are those of the
authors' release (IDRnD/redimnet).

Every stage reads a weighted sum of all maps before it. B batch, T frames, F mel bins, C channels
of the stem; a map of c channels and f bins always has c * f = C * F.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sv_cli.models.blocks import as_image
from sv_cli.models.pooling import make_pooling
from sv_cli.models.protocol import EncoderSettings, SpeakerEncoder
from sv_cli.settings.model import Settings, build_settings

NORM_EPS = 1e-6
CONTEXT_KERNELS = (7, 19, 31, 59)
NUM_HEADS = 4

BlockKind = Literal["convnext", "resnet", "resnet_fwse"]


class ChannelNorm(nn.Module):
    """Layer normalisation over dimension 1 of maps (batch, channels, ...)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps with zero mean and unit variance over the channels, then scaled."""
        last = maps.movedim(1, -1)
        normed = F.layer_norm(last, self.weight.shape, self.weight, self.bias, NORM_EPS)
        return normed.movedim(-1, 1).to(maps.dtype)


class ConvNextBlock(nn.Module):
    """Grouped convolution, BatchNorm, GELU, point-wise convolution, and the input added.

    `dims` is 1 for (batch, channels, frames) and 2 for (batch, channels, bins, frames).
    """

    def __init__(self, channels: int, *, dims: int, kernel: int, group_size: int = 1) -> None:
        super().__init__()
        conv = nn.Conv1d if dims == 1 else nn.Conv2d
        norm = nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d
        groups = channels // group_size
        wide = conv(channels, channels, kernel, padding=kernel // 2, groups=groups)
        self.dwconvs = nn.ModuleList([wide])
        self.norm = norm(channels)
        self.pwconv1 = conv(channels, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape."""
        out = F.gelu(self.norm(self.dwconvs[0](maps)))
        return maps + self.pwconv1(out)  # type: ignore[no-any-return]


class FrequencySqueeze(nn.Module):
    """Squeeze and excitation with one weight a frequency bin."""

    def __init__(self, bins: int, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(bins, hidden)
        self.exitation = nn.Linear(hidden, bins)  # the name in published weights

    def forward(self, maps: Tensor) -> Tensor:
        """Return (batch, channels, bins, frames) with each bin scaled by 0 to 1."""
        weight = self.exitation(F.relu(self.squeeze(maps.mean(dim=(1, 3)))))
        return maps * torch.sigmoid(weight)[:, None, :, None]


class ResNetBlock(nn.Module):
    """Two grouped 3x3 convolutions with point-wise ones; the first ReLU precedes its norm."""

    def __init__(self, channels: int, *, bins: int, group_size: int, squeeze: bool) -> None:
        super().__init__()
        groups = channels // group_size
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.conv1pw = nn.Conv2d(channels, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.conv2pw = nn.Conv2d(channels, channels, 1)
        self.bn2 = nn.BatchNorm2d(channels)
        hidden = min(64, max(channels, 32))
        self.se = FrequencySqueeze(bins, hidden) if squeeze else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape."""
        out = self.bn1(F.relu(self.conv1pw(self.conv1(maps))))
        out = self.se(self.bn2(self.conv2pw(self.conv2(out))))
        return F.relu(maps + out)


class GridBlock(nn.Module):
    """One 2-D block of the kind that the settings name."""

    def __init__(self, channels: int, *, bins: int, kind: BlockKind, group_size: int) -> None:
        super().__init__()
        self.conv_block: nn.Module
        if kind == "convnext":
            self.conv_block = ConvNextBlock(channels, dims=2, kernel=3, group_size=group_size)
        else:
            squeeze = kind == "resnet_fwse"
            self.conv_block = ResNetBlock(
                channels, bins=bins, group_size=group_size, squeeze=squeeze
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Return (batch, channels, bins, frames)."""
        return self.conv_block(maps)  # type: ignore[no-any-return]


def _split(x: Tensor, dim: int, count: int) -> Tensor:
    parts: Tensor = x.unflatten(dim, (count, -1))  # type: ignore[no-untyped-call]
    return parts


class SelfAttention(nn.Module):
    """Multi-head self-attention over the frames of (batch, frames, dim)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, frames: Tensor) -> Tensor:
        """Return (batch, frames, dim)."""
        query, key, value = (
            _split(proj(frames), -1, NUM_HEADS).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )  # (batch, heads, frames, dim / heads)
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.out_proj(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two linear layers with a GELU (tanh form) between them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(dim, dim)
        self.output_dense = nn.Linear(dim, dim)

    def forward(self, frames: Tensor) -> Tensor:
        """Return (batch, frames, dim)."""
        hidden = F.gelu(self.intermediate_dense(frames), approximate="tanh")
        return self.output_dense(hidden)  # type: ignore[no-any-return]


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each added and then normalised; on (batch, dim, frames)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention = SelfAttention(dim)
        self.layer_norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.feed_forward = FeedForward(dim)
        self.final_layer_norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (batch, dim, frames)."""
        frames = maps.transpose(1, 2)
        frames = self.layer_norm(frames + self.attention(frames))
        frames = self.final_layer_norm(frames + self.feed_forward(frames))
        return frames.transpose(1, 2)  # type: ignore[no-any-return]


class ContextBlock(nn.Module):
    """1-D block: fewer channels, four ConvNeXt blocks, a transformer layer, and back."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.red_dim_conv = nn.Sequential(nn.Conv1d(channels, hidden, 1), ChannelNorm(hidden))
        blocks = [ConvNextBlock(hidden, dims=1, kernel=kernel) for kernel in CONTEXT_KERNELS]
        self.tcm = nn.Sequential(*blocks, TransformerLayer(hidden))
        self.exp_dim_conv = nn.Conv1d(hidden, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (batch, channels, frames)."""
        out = self.exp_dim_conv(self.tcm(self.red_dim_conv(maps)))
        return maps + out  # type: ignore[no-any-return]


class ToVectors(nn.Module):
    """(batch, channels, bins, frames) -> (batch, bins * channels, frames), channels fastest."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the map with one vector a frame."""
        return maps.transpose(1, 2).flatten(1, 2)


class ToGrid(nn.Module):
    """(batch, bins * channels, frames) -> (batch, channels, bins, frames); undoes ToVectors."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, maps: Tensor) -> Tensor:
        """Return the map with its bins apart."""
        return _split(maps, 1, self.bins).transpose(1, 2)


def mix_maps(maps: Sequence[Tensor], weight: Tensor) -> Tensor:
    """Return the sum of `maps`, weighted for each channel by a softmax over the maps.

    Parameters
    ----------
    maps : sequence of (batch, channels, frames)
        The outputs so far.
    weight : (1, num_maps, channels, 1)
        Before the softmax; ignored when there is one map.
    """
    if len(maps) == 1:
        return maps[0]
    shares = torch.softmax(weight, dim=1).to(maps[0].dtype).unbind(1)
    mixed = maps[0] * shares[0]
    for one, share in zip(maps[1:], shares[1:], strict=True):
        mixed = mixed + one * share
    return mixed


def make_stem(channels: int) -> nn.Sequential:
    """Return the first convolution and its norm: one channel in, `channels` out."""
    return nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), ChannelNorm(channels))


class StageSettings(Settings):
    """One stage: its 2-D blocks and its 1-D block."""

    freq_stride: int = Field(1, ge=1, description="bins merged into one")
    blocks: int = Field(1, ge=1, description="number of 2-D blocks")
    expansion: int = Field(1, ge=1, description="factor on the channels of the 2-D blocks")
    reduction: int | None = Field(
        None, ge=1, description="divisor of the channels in the 1-D block; none: no such block"
    )


class ReDimNetSettings(EncoderSettings):
    """Sizes of a ReDimNet."""

    feat_dim: int = Field(72, ge=1, description="features a frame; a multiple of all strides")
    channels: int = Field(16, ge=1, description="channels of the stem")
    block: BlockKind = Field("convnext", description="kind of the 2-D blocks")
    group_size: int = Field(4, ge=1, description="channels in a group of a 2-D block")
    pooling: str = Field("ASTP", description="name of the pooling")
    global_context: bool = Field(True, description="the attention sees mean and deviation too")
    pooled_norm: bool = Field(
        False, description="BatchNorm after the pooling; the last layer is `linear`, not `seg_1`"
    )
    stages: tuple[StageSettings, ...] = Field((), description="the stages in order")


class ReDimNetBackbone(nn.Module):
    """Features to one map (batch, channels * bins, frames)."""

    def __init__(self, settings: ReDimNetSettings) -> None:
        super().__init__()
        size = settings.channels * settings.feat_dim
        frozen = nn.Parameter(torch.ones(1, 1, 1, 1), requires_grad=False)
        learned = (
            nn.Parameter(torch.zeros(1, count, size, 1))
            for count in range(2, len(settings.stages) + 2)
        )
        self.inputs_weights = nn.ParameterList([frozen, *learned])
        self.stem = make_stem(settings.channels)
        self.grid_bins: list[int] = []
        channels, bins = settings.channels, settings.feat_dim
        for index, stage in enumerate(settings.stages):
            self.grid_bins.append(bins)
            self.add_module(f"stage{index}", _make_stage(settings, stage, channels, bins))
            channels, bins = channels * stage.freq_stride, bins // stage.freq_stride

    def forward(self, grid: Tensor) -> Tensor:
        """Map (batch, 1, bins, frames) to (batch, channels * bins, frames)."""
        maps = [ToVectors()(self.stem(grid))]
        for index, bins in enumerate(self.grid_bins):
            mixed = mix_maps(maps, self.inputs_weights[index])
            stage = self.get_submodule(f"stage{index}")
            maps.append(stage(ToGrid(bins)(mixed)))
        return mix_maps(maps, self.inputs_weights[len(self.grid_bins)])


def _make_stage(
    settings: ReDimNetSettings, stage: StageSettings, channels: int, bins: int
) -> nn.Sequential:
    out_channels, out_bins = channels * stage.freq_stride, bins // stage.freq_stride
    wide = out_channels * stage.expansion
    stride = (stage.freq_stride, 1)
    layers: list[nn.Module] = [nn.Conv2d(channels, wide, stride, stride=stride)]
    for _ in range(stage.blocks):
        layers.append(
            GridBlock(wide, bins=out_bins, kind=settings.block, group_size=settings.group_size)
        )
    if stage.expansion != 1:
        groups = out_channels // settings.group_size
        squeeze = nn.Conv2d(wide, out_channels, 3, padding=1, groups=groups)
        norm = nn.BatchNorm2d(out_channels, eps=NORM_EPS)
        last = nn.Conv2d(out_channels, out_channels, 1)
        layers.append(nn.Sequential(squeeze, norm, nn.GELU(), last))
    layers.append(ToVectors())
    if stage.reduction is not None:
        size = out_channels * out_bins
        layers.append(ContextBlock(size, size // stage.reduction))
    return nn.Sequential(*layers)


class ReDimNet(SpeakerEncoder):
    """The backbone, attentive statistics and one linear layer."""

    def __init__(self, settings: ReDimNetSettings) -> None:
        super().__init__()
        self.feat_dim = settings.feat_dim
        self.embedding_dim = settings.embedding_dim
        self.backbone = ReDimNetBackbone(settings)
        size = settings.channels * settings.feat_dim
        options = {"global_context": True} if settings.global_context else {}
        self.pool = make_pooling(settings.pooling, size, **options)
        self.pooled_norm = settings.pooled_norm
        last = nn.Linear(self.pool.out_dim, settings.embedding_dim)
        if settings.pooled_norm:
            self.bn = nn.BatchNorm1d(self.pool.out_dim)
            self.linear = last
        else:
            self.seg_1 = last
        self.min_frames = self.pool.min_frames

    def forward(self, feats: Tensor) -> Tensor:
        """Map (batch, frames, feat_dim) to (batch, embedding_dim)."""
        self.check_feats(feats)
        stats = self.pool(self.backbone(as_image(feats)))
        if self.pooled_norm:
            return self.linear(self.bn(stats))  # type: ignore[no-any-return]
        return self.seg_1(stats)  # type: ignore[no-any-return]


def _stages(*rows: tuple[int, int, int, int | None]) -> list[dict[str, int | None]]:
    return [dict(zip(StageSettings.model_fields, row, strict=True)) for row in rows]


_B4: dict[str, Any] = {
    "channels": 32,
    "block": "resnet_fwse",
    "group_size": 1,
    "stages": _stages(
        (1, 4, 2, 48), (2, 4, 2, 48), (1, 6, 2, 48), (2, 6, 1, 32), (1, 8, 1, 24), (2, 4, 1, 16)
    ),
}
SIZES: dict[str, dict[str, Any]] = {
    "redimnet_b0": {
        "feat_dim": 60,
        "channels": 10,
        "block": "resnet",
        "group_size": 1,
        "stages": _stages(
            (1, 2, 1, 30), (2, 3, 2, 30), (1, 3, 3, 30), (2, 4, 2, 10), (1, 3, 1, 10)
        ),
    },
    "redimnet_b1": {
        "channels": 12,
        "block": "convnext",
        "group_size": 8,
        "stages": _stages(
            (1, 2, 1, None), (2, 3, 1, None), (3, 4, 1, 12), (2, 5, 1, 12), (2, 3, 1, 8)
        ),
    },
    "redimnet_b2": {
        "channels": 16,
        "block": "convnext",
        "group_size": 4,
        "stages": _stages(
            (1, 2, 1, 12), (2, 2, 1, 12), (1, 3, 1, 12), (2, 4, 1, 8), (1, 4, 1, 8), (2, 4, 1, 4)
        ),
    },
    "redimnet_b3": {
        "channels": 16,
        "block": "resnet_fwse",
        "group_size": 1,
        "stages": _stages(
            (1, 6, 4, 32), (2, 6, 2, 32), (1, 8, 2, 32),
            (2, 10, 2, 16), (1, 10, 1, 16), (2, 8, 1, 16),
        ),
    },
    "redimnet_b4": _B4,
    "redimnet_b5": {**_B4, "group_size": 16},
    "redimnet_b6": {
        "channels": 32,
        "block": "resnet",
        "group_size": 32,
        "stages": _stages(
            (1, 4, 4, 32), (2, 6, 2, 32), (1, 6, 2, 24), (3, 8, 1, 24), (1, 8, 1, 16), (2, 8, 1, 16)
        ),
    },
}  # fmt: skip


def settings_of(name: str, **overrides: Any) -> ReDimNetSettings:
    """Return the settings of a published size."""
    return build_settings(ReDimNetSettings, SIZES[name] | overrides, where=name)


def redimnet_b0(**overrides: Any) -> ReDimNet:
    """Return ReDimNet-B0 (1.00 M parameters) for 60 mel bins."""
    return ReDimNet(settings_of("redimnet_b0", **overrides))


def redimnet_b1(**overrides: Any) -> ReDimNet:
    """Return ReDimNet-B1 (2.12 M parameters)."""
    return ReDimNet(settings_of("redimnet_b1", **overrides))


def redimnet_b2(**overrides: Any) -> ReDimNet:
    """Return ReDimNet-B2 (4.89 M parameters)."""
    return ReDimNet(settings_of("redimnet_b2", **overrides))


def redimnet_b3(**overrides: Any) -> ReDimNet:
    """Return ReDimNet-B3 (3.22 M parameters)."""
    return ReDimNet(settings_of("redimnet_b3", **overrides))


def redimnet_b4(**overrides: Any) -> ReDimNet:
    """Return ReDimNet-B4 (6.43 M parameters)."""
    return ReDimNet(settings_of("redimnet_b4", **overrides))


def redimnet_b5(**overrides: Any) -> ReDimNet:
    """Return ReDimNet-B5 (7.65 M parameters): B4 with groups of 16 channels."""
    return ReDimNet(settings_of("redimnet_b5", **overrides))


def redimnet_b6(**overrides: Any) -> ReDimNet:
    """Return ReDimNet-B6 (15.0 M parameters)."""
    return ReDimNet(settings_of("redimnet_b6", **overrides))
