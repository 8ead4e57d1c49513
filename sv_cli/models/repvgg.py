"""RepVGG: several branches a layer in training, one plain convolution afterwards.

Paper: Ding et al., "RepVGG: making VGG-style ConvNets great again", CVPR 2021; for speakers Ma et
al., "Rep works in speaker verification", 2021 (the RSBB form, whose second branch is dilated).
State-dict keys are those of WeSpeaker's `repvgg.py`, in training and in deploy form.
"""

import copy
from functools import partial
from typing import Any, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sv_cli.models.blocks import as_image, halve
from sv_cli.models.pooling import make_pooling
from sv_cli.models.protocol import EncoderSettings, SpeakerEncoder
from sv_cli.settings.model import build_settings

SQUEEZE_RATIO = 4
STAGE_STRIDES = (1, 2, 2, 2)
BASE_WIDTHS = (64, 128, 256, 512)
LAST_GROUPED_LAYER = 26  # layers count from 1 in stage 1; the even ones may have groups

AnyEncoder = TypeVar("AnyEncoder", bound=SpeakerEncoder)


class Squeeze2d(nn.Module):
    """Squeeze and excitation with one weight a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc_1 = nn.Linear(channels, channels // SQUEEZE_RATIO)
        self.fc_2 = nn.Linear(channels // SQUEEZE_RATIO, channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (batch, channels, bins, frames) with each channel scaled by 0 to 1."""
        weight = self.fc_2(F.relu(self.fc_1(maps.mean(dim=(2, 3)))))
        return maps * torch.sigmoid(weight)[:, :, None, None]


class ConvNorm(nn.Module):
    """A convolution without bias and its BatchNorm; output size as of a 3x3 with padding 1."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int,
        dilation: int,
        stride: int,
        groups: int,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the normed maps."""
        return self.bn(self.conv(maps))  # type: ignore[no-any-return]

    def fused(self, size: int) -> tuple[Tensor, Tensor]:
        """Return kernel (out, in / groups, size, size) and bias of one equal convolution."""
        step = self.conv.dilation[0]
        kernel = self.conv.weight.double()
        spread = step * (kernel.shape[-1] - 1) + 1
        full = kernel.new_zeros(*kernel.shape[:2], size, size)
        start = (size - spread) // 2
        taps = slice(start, start + spread, step)
        full[:, :, taps, taps] = kernel
        return fold_norm(full, self.bn)


class RepVggBlock(nn.Module):
    """ReLU of the sum of a 3x3, a 1x1 (or dilated 3x3) and an identity branch, each normed."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        groups: int = 1,
        dilated: bool = False,
        squeeze: bool = False,
    ) -> None:
        super().__init__()
        self.rbr_reparam: nn.Conv2d | None = None
        self.rbr_identity: nn.BatchNorm2d | None = None
        if in_channels == out_channels and stride == 1:
            self.rbr_identity = nn.BatchNorm2d(in_channels)
        conv_norm = partial(ConvNorm, in_channels, out_channels, stride=stride, groups=groups)
        self.rbr_dense = conv_norm(kernel=3, dilation=1)
        self.second = "rbr_dense_dilation" if dilated else "rbr_1x1"
        kernel, dilation = (3, 2) if dilated else (1, 1)
        self.add_module(self.second, conv_norm(kernel=kernel, dilation=dilation))
        self.se = Squeeze2d(out_channels) if squeeze else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, in_channels, bins, frames) to (batch, out_channels, bins', frames')."""
        if self.rbr_reparam is not None:
            return self.se(F.relu(self.rbr_reparam(maps)))  # type: ignore[no-any-return]
        out = self.rbr_dense(maps) + self.get_submodule(self.second)(maps)
        if self.rbr_identity is not None:
            out = out + self.rbr_identity(maps)
        return self.se(F.relu(out))  # type: ignore[no-any-return]

    @torch.no_grad()
    def fuse(self) -> None:
        """Replace the branches by the one convolution that equals them in eval mode."""
        if self.rbr_reparam is not None:
            return
        second = self.get_submodule(self.second)
        assert isinstance(second, ConvNorm)  # for the type checker
        size = 3 if self.second == "rbr_1x1" else 5
        dense = self.rbr_dense.conv
        branches = [self.rbr_dense.fused(size), second.fused(size)]
        if self.rbr_identity is not None:
            delta = _identity_kernel(dense.in_channels, groups=dense.groups, size=size)
            branches.append(fold_norm(delta.to(dense.weight.device), self.rbr_identity))
        fused = self._make_fused(size)
        assert fused.bias is not None  # for the type checker
        fused.weight.copy_(torch.stack([kernel for kernel, _ in branches]).sum(0))
        fused.bias.copy_(torch.stack([bias for _, bias in branches]).sum(0))
        self._drop_branches(fused)

    def use_deploy_form(self) -> None:
        """Turn into the fused form with fresh weights, to load published deploy weights into."""
        if self.rbr_reparam is None:
            self._drop_branches(self._make_fused(3 if self.second == "rbr_1x1" else 5))

    def _make_fused(self, size: int) -> nn.Conv2d:
        dense = self.rbr_dense.conv
        fused = nn.Conv2d(
            dense.in_channels,
            dense.out_channels,
            size,
            stride=dense.stride,  # type: ignore[arg-type]
            padding=size // 2,
            groups=dense.groups,
        )
        return fused.to(dense.weight.device, dense.weight.dtype)

    def _drop_branches(self, fused: nn.Conv2d) -> None:
        self.rbr_reparam = fused
        self.rbr_identity = None
        del self.rbr_dense
        delattr(self, self.second)


def fold_norm(kernel: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return kernel and bias of the convolution that equals `kernel` and then `norm` (float64).

    K' = K * gamma / sqrt(var + eps), b' = beta - mean * gamma / sqrt(var + eps)
    """
    assert norm.running_mean is not None and norm.running_var is not None  # for the type checker
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = norm.bias.double() - norm.running_mean.double() * gain
    return kernel * gain[:, None, None, None], bias


def _identity_kernel(channels: int, *, groups: int, size: int) -> Tensor:
    width = channels // groups
    kernel = torch.zeros(channels, width, size, size, dtype=torch.float64)
    rows = torch.arange(channels)
    kernel[rows, rows % width, size // 2, size // 2] = 1.0
    return kernel


def fuse_branches(encoder: AnyEncoder) -> AnyEncoder:
    """Return a copy in deploy form: one convolution a layer, equal outputs in eval mode."""
    fused = copy.deepcopy(encoder)
    for module in fused.modules():
        if isinstance(module, RepVggBlock):
            module.fuse()
    return fused.eval()


def make_stages(
    blocks: tuple[int, ...],
    widths: tuple[int, ...],
    *,
    groups: int = 1,
    dilated: bool = False,
    squeeze: bool = False,
) -> list[nn.Module]:
    """Return stage 0 (one block) and the four stages after it."""
    channels = min(64, widths[0])
    stages: list[nn.Module] = [RepVggBlock(1, channels, dilated=dilated, squeeze=squeeze)]
    layer = 1
    for count, width, first_stride in zip(blocks, widths, STAGE_STRIDES, strict=True):
        stage = nn.Sequential()
        for index in range(count):
            block = RepVggBlock(
                channels,
                width,
                stride=first_stride if index == 0 else 1,
                groups=groups if layer % 2 == 0 and layer <= LAST_GROUPED_LAYER else 1,
                dilated=dilated,
                squeeze=squeeze,
            )
            stage.append(block)
            channels = width
            layer += 1
        stages.append(stage)
    return stages


class RepVggSettings(EncoderSettings):
    """Sizes of a RepVGG; the defaults are those of TINY_A0."""

    embedding_dim: int = Field(256, ge=1, description="size of the embedding")
    blocks: tuple[int, int, int, int] = Field((3, 4, 23, 3), description="blocks of each stage")
    widths: tuple[float, float, float, float] = Field(
        (0.5, 0.5, 0.5, 0.5), description="factors on the widths 64, 128, 256, 512"
    )
    groups: int = Field(1, ge=1, description="groups of every second layer")
    dilated: bool = Field(False, description="second branch a dilated 3x3 (RSBB), not a 1x1")
    squeeze: bool = Field(False, description="squeeze and excitation after each block")
    pooling: str = Field("TSTP", description="name of the pooling")
    deploy: bool = Field(False, description="one fused convolution a layer")


class RepVgg(SpeakerEncoder):
    """Five stages of RepVGG blocks, pooling, one linear layer."""

    def __init__(self, settings: RepVggSettings) -> None:
        super().__init__()
        self.feat_dim = settings.feat_dim
        self.embedding_dim = settings.embedding_dim
        widths = tuple(
            int(base * factor) for base, factor in zip(BASE_WIDTHS, settings.widths, strict=True)
        )
        stages = make_stages(
            settings.blocks,
            widths,
            groups=settings.groups,
            dilated=settings.dilated,
            squeeze=settings.squeeze,
        )
        self.stage0, self.stage1, self.stage2, self.stage3, self.stage4 = stages
        self.pool = make_pooling(settings.pooling, widths[-1] * halve(settings.feat_dim, 3))
        self.seg = nn.Linear(self.pool.out_dim, settings.embedding_dim)
        # Time is divided by 8, rounding up.
        self.min_frames = 8 * (self.pool.min_frames - 1) + 1
        self._start(deploy=settings.deploy)

    def _start(self, *, deploy: bool) -> None:
        for module in self.modules():
            if deploy and isinstance(module, RepVggBlock):
                module.use_deploy_form()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, feats: Tensor) -> Tensor:
        """Map (batch, frames, feat_dim) to (batch, embedding_dim)."""
        self.check_feats(feats)
        maps = as_image(feats)
        for stage in (self.stage0, self.stage1, self.stage2, self.stage3, self.stage4):
            maps = stage(maps)
        return self.seg(self.pool(maps))  # type: ignore[no-any-return]


_TINY = {"blocks": (3, 4, 23, 3), "widths": (0.5, 0.5, 0.5, 0.5)}
_A0 = {"blocks": (2, 4, 14, 1), "widths": (0.75, 0.75, 0.75, 2.5)}
_A1 = {"blocks": (2, 4, 14, 1), "widths": (1.0, 1.0, 1.0, 2.5)}
_A2 = {"blocks": (2, 4, 14, 1), "widths": (1.5, 1.5, 1.5, 2.75)}
_B0 = {"blocks": (4, 6, 16, 1), "widths": (1.0, 1.0, 1.0, 2.5)}
_B1 = {"blocks": (4, 6, 16, 1), "widths": (2.0, 2.0, 2.0, 4.0)}
_B2 = {"blocks": (4, 6, 16, 1), "widths": (2.5, 2.5, 2.5, 5.0)}
_B3 = {"blocks": (4, 6, 16, 1), "widths": (3.0, 3.0, 3.0, 5.0)}
_D2 = {"blocks": (8, 14, 24, 1), "widths": (2.5, 2.5, 2.5, 5.0)}


def _build(name: str, defaults: dict[str, Any], overrides: dict[str, Any]) -> RepVgg:
    return RepVgg(build_settings(RepVggSettings, defaults | overrides, where=name))


def repvgg_tiny_a0(**overrides: Any) -> RepVgg:
    """Return RepVGG-TINY-A0 (6.83 M parameters, 6.26 M in deploy form)."""
    return _build("repvgg_tiny_a0", _TINY, overrides)


def repvgg_tiny_rsbb_a0(**overrides: Any) -> RepVgg:
    """Return RepVGG-TINY-RSBB-A0 (11.2 M parameters)."""
    return _build("repvgg_tiny_rsbb_a0", {**_TINY, "dilated": True}, overrides)


def repvgg_a0(**overrides: Any) -> RepVgg:
    """Return RepVGG-A0 (14.4 M parameters)."""
    return _build("repvgg_a0", _A0, overrides)


def repvgg_rsbb_a0(**overrides: Any) -> RepVgg:
    """Return RepVGG-RSBB-A0 (20.6 M parameters)."""
    return _build("repvgg_rsbb_a0", {**_A0, "dilated": True}, overrides)


def repvgg_a1(**overrides: Any) -> RepVgg:
    """Return RepVGG-A1 (19.4 M parameters)."""
    return _build("repvgg_a1", _A1, overrides)


def repvgg_a2(**overrides: Any) -> RepVgg:
    """Return RepVGG-A2 (34.0 M parameters)."""
    return _build("repvgg_a2", _A2, overrides)


def repvgg_rsbb_a2(**overrides: Any) -> RepVgg:
    """Return RepVGG-RSBB-A2 (55.4 M parameters)."""
    return _build("repvgg_rsbb_a2", {**_A2, "dilated": True}, overrides)


def repvgg_b0(**overrides: Any) -> RepVgg:
    """Return RepVGG-B0 (21.1 M parameters)."""
    return _build("repvgg_b0", _B0, overrides)


def repvgg_rsbb_b0(**overrides: Any) -> RepVgg:
    """Return RepVGG-RSBB-B0 (32.7 M parameters)."""
    return _build("repvgg_rsbb_b0", {**_B0, "dilated": True}, overrides)


def repvgg_b1(**overrides: Any) -> RepVgg:
    """Return RepVGG-B1 (65.9 M parameters)."""
    return _build("repvgg_b1", _B1, overrides)


def repvgg_b1g2(**overrides: Any) -> RepVgg:
    """Return RepVGG-B1g2 (54.2 M parameters)."""
    return _build("repvgg_b1g2", {**_B1, "groups": 2}, overrides)


def repvgg_b1g4(**overrides: Any) -> RepVgg:
    """Return RepVGG-B1g4 (48.4 M parameters)."""
    return _build("repvgg_b1g4", {**_B1, "groups": 4}, overrides)


def repvgg_b2(**overrides: Any) -> RepVgg:
    """Return RepVGG-B2 (99.6 M parameters)."""
    return _build("repvgg_b2", _B2, overrides)


def repvgg_b2g2(**overrides: Any) -> RepVgg:
    """Return RepVGG-B2g2."""
    return _build("repvgg_b2g2", {**_B2, "groups": 2}, overrides)


def repvgg_b2g4(**overrides: Any) -> RepVgg:
    """Return RepVGG-B2g4."""
    return _build("repvgg_b2g4", {**_B2, "groups": 4}, overrides)


def repvgg_b3(**overrides: Any) -> RepVgg:
    """Return RepVGG-B3 (133.6 M parameters)."""
    return _build("repvgg_b3", _B3, overrides)


def repvgg_b3g2(**overrides: Any) -> RepVgg:
    """Return RepVGG-B3g2."""
    return _build("repvgg_b3g2", {**_B3, "groups": 2}, overrides)


def repvgg_b3g4(**overrides: Any) -> RepVgg:
    """Return RepVGG-B3g4."""
    return _build("repvgg_b3g4", {**_B3, "groups": 4}, overrides)


def repvgg_d2se(**overrides: Any) -> RepVgg:
    """Return RepVGG-D2se (138.4 M parameters)."""
    return _build("repvgg_d2se", {**_D2, "groups": 4, "squeeze": True}, overrides)
