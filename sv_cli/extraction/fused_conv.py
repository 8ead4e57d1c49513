"""One convolution with what follows it: batch norm, a second summand, an activation.

On CPUs with oneDNN the weight is laid out once for the processor and all of it is one kernel;
elsewhere the same arithmetic is done by plain operators.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# What oneDNN calls an activation, and what torch does for it.
ACTIVATIONS = {
    "relu": functional.relu,
    "hardtanh": functional.hardtanh,
    "swish": functional.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


@dataclass(frozen=True)
class ConvForm:
    """Geometry of a convolution over (B, C, T) or (B, C, F, T), and its activation."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    activation: str = ""
    scalars: tuple[float, ...] = ()


class FusedConv(nn.Module):
    """activation(convolution(x) + other), in one type.

    Over (B, C, T) the result has channels as the innermost axis in memory, as over (B, C, F, T).

    Parameters
    ----------
    weight : Tensor, shape (out_channels, in_channels / groups, ...)
    bias : Tensor, shape (out_channels,), optional
    form : ConvForm
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, form: ConvForm) -> None:
        super().__init__()
        self.form = form
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", None if bias is None else bias.detach())
        self._packed: Tensor | None = None

    weight: Tensor
    bias: Tensor | None

    def with_activation(self, activation: str, scalars: tuple[float, ...]) -> None:
        """Let an activation follow."""
        self.form = replace(self.form, activation=activation, scalars=scalars)

    def rows(self, first: int, last: int) -> "FusedConv":
        """Return the convolution that computes some of the output channels."""
        bias = None if self.bias is None else self.bias[first:last]
        return FusedConv(self.weight[first:last], bias, self.form)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """Return (B, out_channels, ...); `other` is added before the activation."""
        if not _has_onednn(x):
            return self._plain(x, other)
        if x.dim() == 4:
            return self._packed_conv(_channels_last(x), other)
        # (B, C, T) -> (B, C, 1, T)
        wide = None if other is None else _channels_last(other.unsqueeze(2))
        return self._packed_conv(_channels_last(x.unsqueeze(2)), wide).squeeze(2)

    def _packed_conv(self, x: Tensor, other: Tensor | None) -> Tensor:
        form = self.form
        lead = [1] if len(form.stride) == 1 else []
        stride, dilation = lead + list(form.stride), lead + list(form.dilation)
        padding = [0] * len(lead) + list(form.padding)
        geometry = (padding, stride, dilation, form.groups)
        if self._packed is None:
            self._packed = self._pack(geometry, x)
        convolve: Any = torch.ops.mkldnn._convolution_pointwise
        if other is None:
            kind, scalars = form.activation or "none", list(form.scalars)
            fused: Tensor = convolve(x, self._packed, self.bias, *geometry, kind, scalars, "")
            return fused
        kind_after = "relu" if form.activation == "relu" else None
        added = (_channels_last(other), self._packed, self.bias, *geometry)
        summed: Tensor = convolve.binary(x, *added, "add", 1.0, kind_after, [], "")
        return summed if kind_after else self._activate(summed)

    def _pack(self, geometry: tuple[Any, ...], x: Tensor) -> Tensor:
        weight = self.weight.unsqueeze(2) if self.weight.dim() == 3 else self.weight
        weight = weight.contiguous(memory_format=torch.channels_last)
        pack: Any = torch.ops.mkldnn._reorder_convolution_weight
        packed: Tensor = pack(weight, *geometry, list(x.shape))
        return packed

    def _plain(self, x: Tensor, other: Tensor | None) -> Tensor:
        convolve = functional.conv1d if x.dim() == 3 else functional.conv2d
        form = self.form
        y: Tensor = convolve(
            x, self.weight, self.bias, form.stride, form.padding, form.dilation, form.groups
        )
        return self._activate(y if other is None else y.add_(other))

    def _activate(self, y: Tensor) -> Tensor:
        if not self.form.activation:
            return y
        function: Any = ACTIVATIONS[self.form.activation]
        activated: Tensor = function(y, *self.form.scalars)
        return activated


class ChannelAffine(nn.Module):
    """x * scale + shift for each channel: a batch norm that follows an activation."""

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__()
        mean, var = norm.running_mean, norm.running_var
        if mean is None or var is None:
            raise TypeError("a batch norm without running statistics has no affine form")
        scale = torch.rsqrt(var + norm.eps)
        if norm.weight is not None:
            scale = scale * norm.weight
        shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
        self.register_buffer("scale", scale.detach().clone())
        self.register_buffer("shift", shift.detach().clone())

    scale: Tensor
    shift: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised map (B, C, ...) in the layout of `x`."""
        size = (-1,) + (1,) * (x.dim() - 2)
        return torch.addcmul(self.shift.view(size), x, self.scale.view(size))


def channel_cat(maps: list[Tensor]) -> Tensor:
    """Return maps joined over channels; (B, C, T) keeps channels as the innermost axis."""
    if maps[0].dim() != 3:
        return torch.cat(maps, dim=1)
    return torch.cat([part.transpose(1, 2) for part in maps], dim=2).transpose(1, 2)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _has_onednn(x: Tensor) -> bool:
    onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    packs = hasattr(torch.ops.mkldnn, "_reorder_convolution_weight")
    return x.device.type == "cpu" and onednn and packs
