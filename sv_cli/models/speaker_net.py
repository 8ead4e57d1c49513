"""The networks of speaker-net: an ECAPA-TDNN, pre-activation ResNet34 and a RepVGG of its own.

Kept from speaker-net (github.com/matln/speaker-net), with its state-dict keys: the aggregation of
ECAPA-TDNN is as wide as its three inputs and has no norm; the 2-D networks end in 16 attention
heads, one weight a frame each; every embedding is the output of a BatchNorm without scale and
shift. Papers: Desplanques et al., Interspeech 2020; He et al., ECCV 2016; Ding et al., CVPR 2021.
"""

from collections import OrderedDict
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.models.blocks import as_image, conv3x3, halve, make_shortcut
from sv_cli.models.ecapa import SqueezeExcite
from sv_cli.models.pooling import (
    Pooling,
    flatten_frequency,
    narrow,
    weighted_moments,
    widen,
    with_context,
)
from sv_cli.models.protocol import EncoderSettings, SpeakerEncoder
from sv_cli.models.repvgg import RepVggBlock, make_stages
from sv_cli.settings.model import build_settings

VARIANCE_FLOOR = 1e-10
NUM_HEADS = 16
ATTENTION_DIM = 128
RES2_SCALE = 8
RESNET_BLOCKS = (3, 4, 6, 3)
RESNET_STRIDES = (1, 2, 2, 2)
RESNET_MOMENTUM = 0.5
REPVGG_BLOCKS = (3, 4, 23, 3)


class Affine(nn.Module):
    """A 1-D convolution under the name that the published weights give it."""

    def __init__(self, in_dim: int, out_dim: int, *, groups: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.affine = nn.Conv1d(in_dim, out_dim, 1, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_dim, frames) to (batch, out_dim, frames)."""
        out: Tensor = self.affine(x)
        return out


class EmbeddingLayer(nn.Module):
    """Linear layer and BatchNorm without scale and shift."""

    def __init__(self, in_dim: int, out_dim: int, *, momentum: float = 0.1) -> None:
        super().__init__()
        self.affine = nn.Conv1d(in_dim, out_dim, 1)
        self.batchnorm = nn.BatchNorm1d(out_dim, affine=False, momentum=momentum)

    def forward(self, stats: Tensor) -> Tensor:
        """Map (batch, in_dim) to (batch, out_dim)."""
        embedding: Tensor = self.batchnorm(self.affine(stats.unsqueeze(-1)).squeeze(-1))
        return embedding


class ContextPooling(Pooling):
    """Attentive statistics whose attention sees mean and deviation of the utterance too."""

    min_frames = 2

    def __init__(self, in_dim: int) -> None:
        super().__init__(in_dim, 2 * in_dim)
        self.attention = nn.ModuleDict(
            {
                "first_affine": Affine(3 * in_dim, ATTENTION_DIM),
                "last_affine": Affine(ATTENTION_DIM, in_dim),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_dim, frames) to (batch, 2 * in_dim): means, deviations."""
        first = self.attention["first_affine"].affine
        hidden = torch.tanh(with_context(first, x, VARIANCE_FLOOR))  # type: ignore[arg-type]
        weights = torch.softmax(widen(self.attention["last_affine"](hidden)), dim=-1)
        return narrow(weighted_moments(x, weights, eps=VARIANCE_FLOOR), x)


class HeadPooling(Pooling):
    """Attentive statistics of 16 heads, each over its own part of the channels."""

    def __init__(self, in_dim: int) -> None:
        super().__init__(in_dim, 2 * in_dim)
        scores = Affine(in_dim, NUM_HEADS, groups=NUM_HEADS, bias=False)
        self.attention = nn.ModuleDict({"last_affine": scores})

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, bins, frames) to (batch, 2 * in_dim): all means, all deviations."""
        flat = flatten_frequency(x)
        weights = torch.softmax(widen(self.attention["last_affine"](flat)), dim=-1).unsqueeze(2)
        # One part of the channels a head: (batch, heads, in_dim / heads, frames).
        parts = widen(flat).reshape(-1, NUM_HEADS, self.in_dim // NUM_HEADS, flat.shape[-1])
        mean = (weights * parts).sum(-1)
        # Not (weights * parts) * parts: where one frame has nearly all the weight the difference
        # is all rounding, which the published order of products keeps as it was in training.
        variance = (weights * parts.square()).sum(-1) - mean.square()
        std = variance.clamp(min=VARIANCE_FLOOR).sqrt()
        return narrow(torch.cat([mean.flatten(1), std.flatten(1)], dim=1), x)


class ConvReluNorm(nn.Module):
    """1-D convolution that keeps the length, ReLU, BatchNorm."""

    def __init__(self, in_dim: int, out_dim: int, *, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.affine = nn.Conv1d(in_dim, out_dim, kernel, padding=padding, dilation=dilation)
        self.batchnorm = nn.BatchNorm1d(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_dim, frames) to (batch, out_dim, frames)."""
        out: Tensor = self.batchnorm(functional.relu(self.affine(x), inplace=True))
        return out


class Res2Layer(nn.Module):
    """Eight groups of channels: each convolved with the one before added, the last one passed."""

    def __init__(self, channels: int, *, dilation: int) -> None:
        super().__init__()
        self.width = channels // RES2_SCALE
        self.blocks = nn.ModuleList(
            ConvReluNorm(self.width, self.width, kernel=3, dilation=dilation)
            for _ in range(RES2_SCALE - 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels, frames)."""
        *groups, last = torch.split(x, self.width, dim=1)
        done: list[Tensor] = []
        for block, group in zip(self.blocks, groups, strict=True):
            done.append(block(done[-1] + group if done else group))
        return torch.cat([*done, last], dim=1)


class SeRes2Block(nn.Module):
    """Point-wise, Res2 and point-wise layer, squeeze and excitation, and the input added."""

    def __init__(self, channels: int, *, dilation: int) -> None:
        super().__init__()
        self.se_res2block = nn.Sequential(
            ConvReluNorm(channels, channels),
            Res2Layer(channels, dilation=dilation),
            ConvReluNorm(channels, channels),
            SqueezeExcite(channels, channels // 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels, frames)."""
        out: Tensor = self.se_res2block(x)
        return x + out


class EcapaSettings(EncoderSettings):
    """Sizes of speaker-net's ECAPA-TDNN."""

    embedding_dim: int = Field(256, ge=1, description="size of the embedding")
    channels: int = Field(512, ge=8, multiple_of=8, description="channels of the layers")


class SpeakerNetEcapa(SpeakerEncoder):
    """Four layers, their aggregation, attentive statistics with context, one linear layer."""

    def __init__(self, settings: EcapaSettings) -> None:
        super().__init__()
        self.feat_dim = settings.feat_dim
        self.embedding_dim = settings.embedding_dim
        channels = settings.channels
        self.layer1 = ConvReluNorm(settings.feat_dim, channels, kernel=5)
        self.layer2 = SeRes2Block(channels, dilation=2)
        self.layer3 = SeRes2Block(channels, dilation=3)
        self.layer4 = SeRes2Block(channels, dilation=4)
        self.layer5 = Affine(3 * channels, 3 * channels)
        self.pooling = ContextPooling(3 * channels)
        self.bn_pool = nn.BatchNorm1d(self.pooling.out_dim)
        self.fc2 = EmbeddingLayer(self.pooling.out_dim, settings.embedding_dim)
        self.min_frames = self.pooling.min_frames

    def forward(self, feats: Tensor) -> Tensor:
        """Map (batch, frames, feat_dim) to (batch, embedding_dim)."""
        self.check_feats(feats)
        out2 = self.layer2(self.layer1(feats.transpose(1, 2)))
        out3 = self.layer3(out2)
        out4 = self.layer4(out3)
        merged = self.layer5(torch.cat([out2, out3, out4], dim=1))
        stats = self.pooling(functional.relu(merged, inplace=True))
        embedding: Tensor = self.fc2(self.bn_pool(stats))
        return embedding


class PreActivationBlock(nn.Module):
    """BatchNorm and ReLU before each of two 3x3 convolutions; the raw input goes round them."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, channels, stride=stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.downsample = make_shortcut(in_channels, channels, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, bins, frames) to (batch, channels, bins', frames')."""
        out = self.conv1(functional.relu(self.bn1(x), inplace=True))
        out = self.conv2(functional.relu(self.bn2(out), inplace=True))
        return self.downsample(x) + out  # type: ignore[no-any-return]


def _make_resnet(channels: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = conv3x3(1, channels)
    layers["bn1"] = nn.BatchNorm2d(channels)
    layers["relu"] = nn.ReLU(inplace=True)
    seen = channels
    for number, (count, stride) in enumerate(zip(RESNET_BLOCKS, RESNET_STRIDES, strict=True)):
        layer = nn.Sequential()
        for step in (stride, *[1] * (count - 1)):
            layer.append(PreActivationBlock(seen, channels * 2**number, stride=step))
            seen = channels * 2**number
        layers[f"layer{number + 1}"] = layer
    trunk = nn.Sequential(layers)
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = RESNET_MOMENTUM
    return trunk


class ResNetSettings(EncoderSettings):
    """Sizes of speaker-net's ResNet34."""

    embedding_dim: int = Field(256, ge=1, description="size of the embedding")
    channels: int = Field(32, ge=2, multiple_of=2, description="channels of the first stage")


class SpeakerNetResNet(SpeakerEncoder):
    """Pre-activation ResNet34, 16 attention heads, one linear layer."""

    def __init__(self, settings: ResNetSettings) -> None:
        super().__init__()
        self.feat_dim = settings.feat_dim
        self.embedding_dim = settings.embedding_dim
        self.resnet = _make_resnet(settings.channels)
        self.stats = HeadPooling(8 * settings.channels * halve(settings.feat_dim, 3))
        self.fc2 = EmbeddingLayer(
            self.stats.out_dim, settings.embedding_dim, momentum=RESNET_MOMENTUM
        )
        self.min_frames = 1

    def forward(self, feats: Tensor) -> Tensor:
        """Map (batch, frames, feat_dim) to (batch, embedding_dim)."""
        self.check_feats(feats)
        embedding: Tensor = self.fc2(self.stats(self.resnet(as_image(feats))))
        return embedding


class RepVggSettings(EncoderSettings):
    """Sizes of speaker-net's RepVGG."""

    embedding_dim: int = Field(512, ge=1, description="size of the embedding")
    channels: int = Field(64, ge=2, multiple_of=2, description="channels of the first stage")
    deploy: bool = Field(False, description="one fused convolution a layer")


class SpeakerNetRepVgg(SpeakerEncoder):
    """RepVGG of five stages, 16 attention heads, one linear layer."""

    def __init__(self, settings: RepVggSettings) -> None:
        super().__init__()
        self.feat_dim = settings.feat_dim
        self.embedding_dim = settings.embedding_dim
        widths = tuple(settings.channels * 2**number for number in range(4))
        stages = make_stages(REPVGG_BLOCKS, widths)
        names = [f"stage{number}" for number in range(len(stages))]
        self.repvgg = nn.Sequential(OrderedDict(zip(names, stages, strict=True)))
        self.stats = HeadPooling(widths[-1] * halve(settings.feat_dim, 3))
        self.fc2 = EmbeddingLayer(self.stats.out_dim, settings.embedding_dim)
        self.min_frames = 1
        if settings.deploy:
            for module in list(self.repvgg.modules()):
                if isinstance(module, RepVggBlock):
                    module.use_deploy_form()

    def forward(self, feats: Tensor) -> Tensor:
        """Map (batch, frames, feat_dim) to (batch, embedding_dim)."""
        self.check_feats(feats)
        embedding: Tensor = self.fc2(self.stats(self.repvgg(as_image(feats))))
        return embedding


def speaker_net_ecapa_c512(**overrides: Any) -> SpeakerNetEcapa:
    """Return the ECAPA-TDNN of 512 channels (6.39 M parameters; 6.19 M with embedding_dim 192)."""
    return SpeakerNetEcapa(build_settings(EcapaSettings, overrides, where="speaker_net_ecapa_c512"))


def speaker_net_ecapa_c1024(**overrides: Any) -> SpeakerNetEcapa:
    """Return the ECAPA-TDNN of 1024 channels (23.5 M parameters)."""
    values = {"channels": 1024, "embedding_dim": 512, **overrides}
    return SpeakerNetEcapa(build_settings(EcapaSettings, values, where="speaker_net_ecapa_c1024"))


def speaker_net_resnet34_c32(**overrides: Any) -> SpeakerNetResNet:
    """Return the ResNet34 of 32 channels (6.64 M parameters)."""
    settings = build_settings(ResNetSettings, overrides, where="speaker_net_resnet34_c32")
    return SpeakerNetResNet(settings)


def speaker_net_resnet34_c64(**overrides: Any) -> SpeakerNetResNet:
    """Return the ResNet34 of 64 channels (26.5 M parameters)."""
    values = {"channels": 64, "embedding_dim": 512, **overrides}
    settings = build_settings(ResNetSettings, values, where="speaker_net_resnet34_c64")
    return SpeakerNetResNet(settings)


def speaker_net_repvgg_b1(**overrides: Any) -> SpeakerNetRepVgg:
    """Return the "B1-custom" RepVGG (27.3 M parameters, 25.1 M in deploy form)."""
    settings = build_settings(RepVggSettings, overrides, where="speaker_net_repvgg_b1")
    return SpeakerNetRepVgg(settings)
