"""Pooling over time: a map of any length in, one vector an utterance out.

Legend: B batch, D channels (a frequency axis is flattened channel-major into it), T frames.
Every pooling takes (B, D, T) or (B, C, F, T) and returns (B, out_dim). Sums over time run in
float32 for any type of the map, so that bf16 networks keep their statistics.
Keys of the learned poolings are WeSpeaker's.
"""

from collections import OrderedDict
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.errors import SettingsError, ShapeError
from sv_cli.settings.model import nearest


def flatten_frequency(x: Tensor) -> Tensor:
    """Return (B, C, F, T) as (B, C * F, T), index c * F + f; three axes are left as they are."""
    return x.flatten(1, 2) if x.dim() == 4 else x


def widen(x: Tensor) -> Tensor:
    """Return half types as float32, others as they are."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def narrow(stats: Tensor, like: Tensor) -> Tensor:
    """Return float32 statistics in the type the next layer expects."""
    if stats.dtype == like.dtype or torch.is_autocast_enabled(like.device.type):
        return stats
    return stats.to(like.dtype)


def moments(x: Tensor, *, eps: float) -> tuple[Tensor, Tensor]:
    """Return mean and sqrt(unbiased variance + eps) over the last axis, in float32 or wider.

    Raises
    ------
    ShapeError
        When there is one frame only: the unbiased variance is not defined.
    """
    if x.shape[-1] < 2:
        raise ShapeError(
            f"statistics pooling needs 2 frames after down-sampling, got {x.shape[-1]}"
        )
    x = widen(x)
    mean = x.mean(-1, keepdim=True)
    # Two plain passes take a tenth of the time of torch.var_mean on the CPU.
    negative = (x - mean).square().sum(-1) / (1 - x.shape[-1])
    # The same bits as variance + eps, which the ONNX exporter drops for an eps of 1e-8 or less.
    return mean.squeeze(-1), torch.sqrt(eps - negative)


def weighted_moments(x: Tensor, weights: Tensor, *, eps: float) -> Tensor:
    """Return [mean ; deviation] of x under weights that sum to one over time.

    Parameters
    ----------
    x : (B, D, T)
    weights : (B, D, T) or (B, 1, T)
    eps : float
        Floor of the variance.

    Returns
    -------
    (B, 2 * D)
    """
    x = widen(x)
    weighted = weights * x
    mean = weighted.sum(-1)
    variance = (weighted * x).sum(-1) - mean.square()
    return torch.cat([mean, torch.sqrt(variance.clamp(min=eps))], dim=1)


class Pooling(nn.Module):
    """Base of all poolings.

    Attributes
    ----------
    in_dim, out_dim : int
        Channels in (times frequency bins), values out.
    min_frames : int
        Fewest frames that give finite values.
    """

    min_frames = 1

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.out_dim = out_dim


class TAP(Pooling):
    """Temporal average pooling."""

    def __init__(self, in_dim: int) -> None:
        super().__init__(in_dim, in_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) means."""
        return narrow(widen(x).mean(-1).flatten(1), x)


class TSDP(Pooling):
    """Temporal standard deviation pooling: sqrt(unbiased variance + eps)."""

    min_frames = 2

    def __init__(self, in_dim: int, *, eps: float = 1e-7) -> None:
        super().__init__(in_dim, in_dim)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) deviations."""
        _, std = moments(x, eps=self.eps)
        return narrow(std.flatten(1), x)


class TSTP(Pooling):
    """Temporal statistics pooling: means, then deviations sqrt(unbiased variance + eps).

    `eps` is 1e-7 in WeSpeaker, 1e-8 in 3D-Speaker, 0 in 3D-Speaker's CAM++.
    """

    min_frames = 2

    def __init__(self, in_dim: int, *, eps: float = 1e-7) -> None:
        super().__init__(in_dim, 2 * in_dim)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2 * D): all means, all deviations."""
        mean, std = moments(x, eps=self.eps)
        return narrow(torch.cat([mean.flatten(1), std.flatten(1)], dim=1), x)


class ASTP(Pooling):
    """Attentive statistics: tanh attention a channel, with or without global context.

    Source: Okabe et al., Interspeech 2018; context: Desplanques et al., Interspeech 2020, eq. 2.
    """

    def __init__(
        self,
        in_dim: int,
        *,
        bottleneck_dim: int = 128,
        global_context: bool = False,
        eps: float = 1e-7,
    ) -> None:
        super().__init__(in_dim, 2 * in_dim)
        self.eps = eps
        self.global_context = global_context
        self.min_frames = 2 if global_context else 1
        seen_dim = 3 * in_dim if global_context else in_dim
        self.linear1 = nn.Conv1d(seen_dim, bottleneck_dim, 1)
        self.linear2 = nn.Conv1d(bottleneck_dim, in_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2 * D): weighted means, weighted deviations."""
        flat = flatten_frequency(x)
        hidden = with_context(self.linear1, flat, self.eps) if self.global_context else None
        hidden = torch.tanh(self.linear1(flat) if hidden is None else hidden)
        weights = torch.softmax(widen(self.linear2(hidden)), dim=-1)
        return narrow(weighted_moments(flat, weights, eps=self.eps), x)


def with_context(linear: nn.Conv1d, x: Tensor, eps: float) -> Tensor:
    """Return `linear` of [x ; mean ; deviation], without building the constant two thirds.

    Parameters
    ----------
    linear : 1x1 convolution from 3 * D channels
    x : (B, D, T)
    eps : float
        Added to the variance under the root.

    Returns
    -------
    (B, linear.out_channels, T)
    """
    dim = x.shape[1]
    context = narrow(torch.cat(moments(x, eps=eps), dim=1), x)
    offset = functional.linear(context, linear.weight[:, dim:, 0], linear.bias)
    return functional.conv1d(x, linear.weight[:, :dim]) + offset.unsqueeze(-1)


class ASP(Pooling):
    """Attentive statistics of SimAM-ResNet: ReLU and batch norm in the attention."""

    def __init__(self, in_dim: int, *, bottleneck_dim: int = 128, eps: float = 1e-5) -> None:
        super().__init__(in_dim, 2 * in_dim)
        self.eps = eps
        self.attention = nn.Sequential(
            nn.Conv1d(in_dim, bottleneck_dim, 1),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(bottleneck_dim),
            nn.Conv1d(bottleneck_dim, in_dim, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2 * D): weighted means, weighted deviations."""
        flat = flatten_frequency(x)
        weights = torch.softmax(widen(self.attention(flat)), dim=-1)
        return narrow(weighted_moments(flat, weights, eps=self.eps), x)


class MHASTP(Pooling):
    """Multi-head attentive statistics: each head attends within its own block of channels.

    `shared_weights`: one weight a frame for the whole head, otherwise one a channel.
    """

    def __init__(
        self,
        in_dim: int,
        *,
        num_heads: int = 2,
        num_layers: int = 2,
        shared_weights: bool = True,
        bottleneck_dim: int = 64,
        eps: float = 1e-7,
    ) -> None:
        super().__init__(in_dim, 2 * in_dim)
        if in_dim % num_heads:
            raise ShapeError(f"{in_dim} channels do not split into {num_heads} heads")
        self.eps = eps
        self.head_dim = in_dim // num_heads
        last_dim = 1 if shared_weights else self.head_dim
        dims = [self.head_dim, *[bottleneck_dim] * (num_layers - 1), last_dim]
        self.heads_att_trans = nn.ModuleList(_attention(dims) for _ in range(num_heads))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2 * D): head by head, weighted means and weighted deviations."""
        flat = flatten_frequency(x)
        parts = torch.split(flat, self.head_dim, dim=1)
        heads = []
        for part, attention in zip(parts, self.heads_att_trans, strict=True):
            weights = torch.softmax(widen(attention(part)), dim=-1)
            heads.append(weighted_moments(part, weights, eps=self.eps))
        return narrow(torch.cat(heads, dim=1), x)


def _attention(dims: list[int]) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (seen, given) in enumerate(pairwise(dims)):
        if i:
            layers[f"tanh_{i - 1}"] = nn.Tanh()
        layers[f"att_{i}"] = nn.Conv1d(seen, given, 1)
    return nn.Sequential(layers)


class MQMHASTP(Pooling):
    """Several queries, each a multi-head attentive pooling of its own.

    Source: Zhao et al., ICASSP 2022 (arXiv:2110.05042).
    """

    def __init__(
        self,
        in_dim: int,
        *,
        num_queries: int = 2,
        num_heads: int = 8,
        num_layers: int = 2,
        shared_weights: bool = False,
        bottleneck_dim: int = 64,
        eps: float = 1e-7,
    ) -> None:
        super().__init__(in_dim, 2 * in_dim * num_queries)
        self.n_query = nn.ModuleList(
            MHASTP(
                in_dim,
                num_heads=num_heads,
                num_layers=num_layers,
                shared_weights=shared_weights,
                bottleneck_dim=bottleneck_dim,
                eps=eps,
            )
            for _ in range(num_queries)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2 * D * num_queries), query by query."""
        flat = flatten_frequency(x)
        return torch.cat([query(flat) for query in self.n_query], dim=1)


class XI(Pooling):
    """Posterior mean of a Gaussian with a learned prior and a precision a frame.

    Source: Lee et al., IEEE SPL 2021 (xi-vector), eq. 5-7, precisions kept as their logarithm.
    """

    def __init__(self, in_dim: int, *, hidden_dim: int = 256) -> None:
        super().__init__(in_dim, in_dim)
        self.prior_mean = nn.Parameter(torch.zeros(1, in_dim))
        self.prior_logprec = nn.Parameter(torch.zeros(1, in_dim))
        self.lin1_relu_bn = nn.Sequential(
            nn.Conv1d(in_dim, hidden_dim, 1), nn.ReLU(inplace=True), nn.BatchNorm1d(hidden_dim)
        )
        self.lin2 = nn.Conv1d(hidden_dim, in_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) posterior means."""
        flat = flatten_frequency(x)
        gain = functional.softplus(widen(self.lin2(self.lin1_relu_bn(flat))))
        # 1e-7 is far below where the next clamp cuts; it keeps the slope of the logarithm finite.
        logprec = 2.0 * torch.log(gain.clamp(min=1e-7))
        logprec = logprec.clamp(-15.0, 15.0)
        size = (flat.shape[0], self.in_dim, 1)
        prior_logprec = self.prior_logprec.to(logprec.dtype).unsqueeze(-1).expand(size)
        prior_mean = self.prior_mean.to(logprec.dtype).unsqueeze(-1).expand(size)
        # The prior counts as one more frame, (B, D, T + 1).
        weights = torch.softmax(torch.cat([logprec, prior_logprec], dim=-1), dim=-1)
        frames = torch.cat([widen(flat), prior_mean], dim=-1)
        return narrow((weights * frames).sum(-1), x)


POOLINGS: dict[str, type[Pooling]] = {
    "TAP": TAP,
    "TSDP": TSDP,
    "TSTP": TSTP,
    "ASTP": ASTP,
    "ASP": ASP,
    "MHASTP": MHASTP,
    "MQMHASTP": MQMHASTP,
    "XI": XI,
}


def make_pooling(name: str, in_dim: int, **options: Any) -> Pooling:
    """Return the pooling called `name` for maps of `in_dim` channels (times frequency bins).

    Raises
    ------
    SettingsError
        When there is no such pooling.
    """
    if name not in POOLINGS:
        raise SettingsError(f"pooling: `{name}` is unknown{nearest(name.upper(), POOLINGS)}")
    pooling: Any = POOLINGS[name]
    made: Pooling = pooling(in_dim, **options)
    return made
