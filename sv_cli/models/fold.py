"""Batch norms folded into the convolutions before them: fewer passes over the maps at inference."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import nn

from sv_cli.models.protocol import SpeakerEncoder

CONVS = (nn.Conv1d, nn.Conv2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def fold_norms(encoder: SpeakerEncoder) -> int:
    """Fold every norm that directly follows a convolution, in place; for inference only.

    Which ones do is told by the network: neighbours in a Sequential, and under the class attribute
    `norm_follows_conv` the children `convX` with `bnX` and `convs.i` with `bns.i`. The state-dict
    keys change, so fold after loading and do not save.

    Returns
    -------
    int
        Norms folded.
    """
    if encoder.training:
        raise ValueError("norms are folded in eval mode only")
    folded: set[nn.Module] = set()
    for module in encoder.modules():
        for conv, norm in _pairs(module):
            if isinstance(conv, CONVS) and isinstance(norm, NORMS):
                _fold(conv, norm)
                folded.add(norm)
    for module in list(encoder.modules()):
        for name, child in list(module.named_children()):
            if child in folded:
                setattr(module, name, nn.Identity())
    return len(folded)


def _pairs(module: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    children = dict(module.named_children())
    if isinstance(module, nn.Sequential):
        yield from pairwise(children.values())
    if not getattr(module, "norm_follows_conv", False):
        return
    for name, child in children.items():
        norm = children.get(name.replace("conv", "bn", 1)) if name.startswith("conv") else None
        if isinstance(child, nn.ModuleList) and isinstance(norm, nn.ModuleList):
            yield from zip(child, norm, strict=True)
        elif norm is not None:
            yield child, norm


@torch.no_grad()
def _fold(conv: nn.Conv1d | nn.Conv2d, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    """Put norm(conv(x)) = g (W x + b - mean) + beta, g = gamma / sqrt(var + eps), into W and b."""
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        raise ValueError("a norm without running statistics cannot be folded")
    # In float64: the weights keep all the digits they have.
    gain = (var.double() + norm.eps).rsqrt()
    shift = -mean.double() * gain
    if norm.affine:
        gain = gain * norm.weight.double()
        shift = shift * norm.weight.double() + norm.bias.double()
    if conv.bias is not None:
        shift = shift + conv.bias.double() * gain
    columns = gain.view(-1, *[1] * (conv.weight.dim() - 1))
    weight = (conv.weight.double() * columns).to(conv.weight.dtype)
    conv.weight = nn.Parameter(weight, requires_grad=False)
    conv.bias = nn.Parameter(shift.to(conv.weight.dtype), requires_grad=False)
