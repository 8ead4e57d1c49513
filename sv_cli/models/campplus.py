"""CAM++: densely connected time-delay layers with context-aware masking after a 2-D head.

Paper: Wang et al., "CAM++: a fast and efficient network for speaker verification using
context-aware masking", Interspeech 2023. State-dict keys are those of 3D-Speaker, which WeSpeaker
shares; the two differ in the floor of the pooling only.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from sv_cli.models.blocks import as_image, conv3x3, halve
from sv_cli.models.pooling import make_pooling
from sv_cli.models.protocol import EncoderSettings, SpeakerEncoder
from sv_cli.settings.model import build_settings

HEAD_CHANNELS = 32
SEGMENT_FRAMES = 100
# (layers, dilation) of the three dense blocks; all kernels are 3.
DENSE_BLOCKS = ((12, 1), (24, 2), (16, 2))


class HeadBlock(nn.Module):
    """Residual block of two 3x3 convolutions; `stride` acts on frequency alone."""

    def __init__(self, *, stride: int) -> None:
        super().__init__()
        channels, step = HEAD_CHANNELS, (stride, 1)
        self.conv1 = nn.Conv2d(channels, channels, 3, stride=step, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.append(nn.Conv2d(channels, channels, 1, stride=step, bias=False))
            self.shortcut.append(nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 32, bins, frames) to (batch, 32, ceil(bins / stride), frames)."""
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out)) + self.shortcut(x)
        return functional.relu(out, inplace=True)


class Head(nn.Module):
    """2-D head: an eighth of the bins, all frames."""

    def __init__(self) -> None:
        super().__init__()
        channels = HEAD_CHANNELS
        self.conv1 = conv3x3(1, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = nn.Sequential(HeadBlock(stride=2), HeadBlock(stride=1))
        self.layer2 = nn.Sequential(HeadBlock(stride=2), HeadBlock(stride=1))
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, bins, frames) to (batch, 32 * bins / 8, frames)."""
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.layer2(self.layer1(out))
        out = functional.relu(self.bn2(self.conv2(out)), inplace=True)
        return out.flatten(1, 2)


class NormRelu(nn.Module):
    """BatchNorm and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.batchnorm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels, frames)."""
        return functional.relu(self.batchnorm(x), inplace=True)


class CamLayer(nn.Module):
    """A local convolution masked by the context of its segment and of the whole utterance."""

    def __init__(self, in_dim: int, out_dim: int, *, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(
            in_dim, out_dim, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.linear1 = nn.Conv1d(in_dim, in_dim // 2, 1)
        self.linear2 = nn.Conv1d(in_dim // 2, out_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_dim, frames) to (batch, out_dim, frames)."""
        local: Tensor = self.linear_local(x)
        # One mask a segment, the last of which may be shorter; frames of a segment share it.
        segments = functional.avg_pool1d(x, SEGMENT_FRAMES, SEGMENT_FRAMES, ceil_mode=True)
        context = segments + x.mean(-1, keepdim=True)
        hidden = functional.relu(self.linear1(context), inplace=True)
        mask = torch.sigmoid(self.linear2(hidden))
        spread = mask.repeat_interleave(SEGMENT_FRAMES, dim=-1)
        return local * spread[..., : x.shape[-1]]


class DenseLayer(nn.Module):
    """Bottleneck and masked convolution: `growth` new channels."""

    def __init__(self, in_dim: int, *, hidden: int, growth: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = NormRelu(in_dim)
        self.linear1 = nn.Conv1d(in_dim, hidden, 1, bias=False)
        self.nonlinear2 = NormRelu(hidden)
        self.cam_layer = CamLayer(hidden, growth, dilation=dilation)
        self.save_memory = False

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_dim, frames) to (batch, growth, frames)."""
        if self.save_memory and self.training:
            hidden = checkpoint(self._squeeze, x, use_reentrant=False)
        else:
            hidden = self._squeeze(x)
        new: Tensor = self.cam_layer(self.nonlinear2(hidden))
        return new

    def _squeeze(self, x: Tensor) -> Tensor:
        squeezed: Tensor = self.linear1(self.nonlinear1(x))
        return squeezed


class DenseBlock(nn.ModuleDict):
    """Layers `tdnnd1`, `tdnnd2`, ... that each see the outputs of all before."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the input and all new channels."""
        for layer in self.values():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class Transit(nn.Module):
    """Halve the channels."""

    def __init__(self, in_dim: int) -> None:
        super().__init__()
        self.nonlinear = NormRelu(in_dim)
        self.linear = nn.Conv1d(in_dim, in_dim // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_dim, frames) to (batch, in_dim / 2, frames)."""
        out: Tensor = self.linear(self.nonlinear(x))
        return out


class Tdnn(nn.Module):
    """The first time-delay layer: half the frames."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(in_dim, out_dim, 5, stride=2, padding=2, bias=False)
        self.nonlinear = NormRelu(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_dim, frames) to (batch, out_dim, ceil(frames / 2))."""
        out: Tensor = self.nonlinear(self.linear(x))
        return out


class Dense(nn.Module):
    """Linear layer and BatchNorm without scale and shift: the embedding."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(in_dim, out_dim, 1, bias=False)
        self.nonlinear = nn.ModuleDict({"batchnorm": nn.BatchNorm1d(out_dim, affine=False)})

    def forward(self, stats: Tensor) -> Tensor:
        """Map (batch, in_dim) to (batch, out_dim)."""
        out: Tensor = self.linear(stats.unsqueeze(-1)).squeeze(-1)
        embedding: Tensor = self.nonlinear["batchnorm"](out)
        return embedding


class CampPlusSettings(EncoderSettings):
    """Sizes of a CAM++ network."""

    embedding_dim: int = Field(512, ge=1, description="size of the embedding")
    growth: int = Field(32, ge=1, description="new channels a dense layer")
    bottleneck: int = Field(4, ge=1, description="bottleneck of a dense layer over its growth")
    channels: int = Field(128, ge=1, description="channels of the first time-delay layer")
    pooling: str = Field("TSTP", description="name of the pooling")
    pooling_eps: float | None = Field(None, ge=0, description="its floor; none: the usual one")
    save_memory: bool = Field(
        False, description="compute bottlenecks twice in training instead of keeping them"
    )


class CampPlus(SpeakerEncoder):
    """The 2-D head, three dense blocks, pooling and one linear layer."""

    def __init__(self, settings: CampPlusSettings) -> None:
        super().__init__()
        self.feat_dim = settings.feat_dim
        self.embedding_dim = settings.embedding_dim
        self.head = Head()
        channels = settings.channels
        self.xvector = nn.Sequential()
        first = Tdnn(HEAD_CHANNELS * halve(settings.feat_dim, 3), channels)
        self.xvector.add_module("tdnn", first)
        for number, (count, dilation) in enumerate(DENSE_BLOCKS, start=1):
            block = _make_block(settings, channels, count=count, dilation=dilation)
            self.xvector.add_module(f"block{number}", block)
            channels += count * settings.growth
            self.xvector.add_module(f"transit{number}", Transit(channels))
            channels //= 2
        self.xvector.add_module("out_nonlinear", NormRelu(channels))
        options = {} if settings.pooling_eps is None else {"eps": settings.pooling_eps}
        pool = make_pooling(settings.pooling, channels, **options)
        self.xvector.add_module("stats", pool)
        self.xvector.add_module("dense", Dense(pool.out_dim, settings.embedding_dim))
        self.min_frames = 2 * (pool.min_frames - 1) + 1
        self.apply(_start)

    def forward(self, feats: Tensor) -> Tensor:
        """Map (batch, frames, feat_dim) to (batch, embedding_dim)."""
        self.check_feats(feats)
        embedding: Tensor = self.xvector(self.head(as_image(feats)))
        return embedding


def _make_block(
    settings: CampPlusSettings, channels: int, *, count: int, dilation: int
) -> DenseBlock:
    block = DenseBlock()
    hidden = settings.bottleneck * settings.growth
    for number in range(1, count + 1):
        layer = DenseLayer(channels, hidden=hidden, growth=settings.growth, dilation=dilation)
        layer.save_memory = settings.save_memory
        block[f"tdnnd{number}"] = layer
        channels += settings.growth
    return block


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _build(name: str, defaults: dict[str, Any], overrides: dict[str, Any]) -> CampPlus:
    return CampPlus(build_settings(CampPlusSettings, defaults | overrides, where=name))


def campplus(**overrides: Any) -> CampPlus:
    """Return WeSpeaker's CAM++ (7.18 M parameters)."""
    return _build("campplus", {}, overrides)


def campplus_3dspeaker(**overrides: Any) -> CampPlus:
    """Return 3D-Speaker's CAM++ (7.18 M parameters; 6.85 M with embedding_dim 192)."""
    # The original has no floor; this one keeps the slope finite where a channel is constant.
    return _build("campplus_3dspeaker", {"pooling_eps": 1e-14}, overrides)
