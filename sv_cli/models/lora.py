"""Low-rank adaptation: next to a frozen linear layer, two thin matrices learn what to add to it.

A layer of weight W gives W x + alpha / rank B A x, where W stays, and A (rank, in) and B
(out, rank) learn. B begins at zero, so that a network with pairs begins as the network without.
W + alpha / rank B A is one matrix again: a network that has learned needs no pairs.

Paper: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022
(arXiv:2106.09685); the initial values are those of the package `peft`.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.errors import SettingsError
from sv_cli.settings.model import Settings, build_settings, nearest

OPTION = "lora"
# PEFT puts the name of an adapter between; here there is one and it has none.
_PAIR_A = re.compile(r"(.+)\.lora_A(?:\.[^.]+)?\.weight")
_PAIR = re.compile(r".+\.lora_[AB]\.weight")


class LoraSettings(Settings):
    """Which layers get pairs of thin matrices, and their rank."""

    rank: int = Field(default=0, ge=0, description="rows of A and columns of B; 0 is without pairs")
    alpha: float = Field(
        default=16.0, gt=0, description="what a pair adds counts alpha / rank times"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout before A")
    targets: tuple[str, ...] = Field(
        default=("linear_q", "linear_v"),
        min_length=1,
        description="names of the layers that get a pair",
    )

    @property
    def scale(self) -> float:
        """How many times the product of a pair counts."""
        return self.alpha / self.rank


class LoraLinear(nn.Linear):
    """A linear layer with a pair added; `weight` and `bias` are those of the layer it replaces.

    Parameters
    ----------
    layer : nn.Linear
    settings : LoraSettings
    """

    def __init__(self, layer: nn.Linear, settings: LoraSettings) -> None:
        has_bias = layer.bias is not None
        super().__init__(layer.in_features, layer.out_features, bias=has_bias, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.scale = settings.scale
        self.dropout = nn.Dropout(settings.dropout)
        self.lora_A = nn.Linear(layer.in_features, settings.rank, bias=False)
        self.lora_B = nn.Linear(settings.rank, layer.out_features, bias=False)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, input: Tensor) -> Tensor:
        """Return (..., out_features) of inputs (..., in_features)."""
        added: Tensor = self.lora_B(self.lora_A(self.dropout(input)))
        return functional.linear(input, self.weight, self.bias) + self.scale * added


def add_lora(network: nn.Module, settings: LoraSettings) -> int:
    """Freeze a network but for new pairs on its layers of these names; return their number.

    Raises
    ------
    SettingsError
        When no linear layer has one of the names.
    """
    network.requires_grad_(False)
    layers = {
        name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear)
    }
    known = sorted({name.rpartition(".")[2] for name in layers})
    for target in settings.targets:
        if target not in known:
            raise SettingsError(
                f"`{OPTION}.targets`: no linear layer is called `{target}`{nearest(target, known)}",
                hint=f"there are {', '.join(known)}",
            )
    chosen = [name for name in layers if name.rpartition(".")[2] in settings.targets]
    for name in chosen:
        parent, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(parent), leaf, LoraLinear(layers[name], settings))
    return len(chosen)


def is_pair(key: str) -> bool:
    """Return whether a state-dict key belongs to a pair."""
    return _PAIR.fullmatch(key) is not None


def count_pairs(weights: Mapping[str, Tensor]) -> int:
    """Return how many layers of a state dict have a pair."""
    return sum(map(is_pair, weights)) // 2


def merge_lora(weights: Mapping[str, Tensor], *, scale: float) -> dict[str, Tensor]:
    """Return weights W + scale B A, without the matrices A (rank, in) and B (out, rank)."""
    merged = dict(weights)
    for key in list(merged):
        match = _PAIR_A.fullmatch(key)
        if match is None:
            continue
        base, partner = f"{match[1]}.weight", key.replace(".lora_A.", ".lora_B.")
        if base in merged and partner in merged:  # else they are named as unexpected
            change = merged.pop(partner).float() @ merged.pop(key).float()
            merged[base] = merged[base] + (scale * change).to(merged[base].dtype)
    return merged


@torch.no_grad()
def without_pairs(
    options: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return options and weights of the network that a network with pairs is equal to.

    Parameters
    ----------
    options : dict
        Settings of the network; `lora` goes, all others stay.
    weights : dict
        Its state dict; without pairs it is returned as it is.
    """
    rest = {name: value for name, value in options.items() if name != OPTION}
    lora = build_settings(LoraSettings, options.get(OPTION, {}), where=OPTION)
    if lora.rank == 0:
        return rest, dict(weights)
    return rest, merge_lora(weights, scale=lora.scale)
