"""w2v-BERT 2.0 as it is on Hugging Face (`model.safetensors`), whose keys are ours.

A bare network; it becomes a model whose embedding is the mean over time and layers.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from sv_cli.checkpoints.foreign.shapes import Layout, Shapes
from sv_cli.checkpoints.foreign.wavlm import BARE, SSL, WEIGHTS
from sv_cli.models.registry import MODELS

NAMES = ("w2vbert2_mfa",)
FRONTEND = MODELS[NAMES[0]].frontend
RIGHT_POSITIONS = 8  # of all that were published; the others are to the left
_LAYER = "encoder.layers.0."
_DISTANCES = _LAYER + "self_attn.distance_embedding.weight"
_MASK = "masked_spec_embed"


def is_w2vbert(keys: Iterable[str]) -> bool:
    """Return whether this is w2v-BERT, by the positions in its attention and its convolutions."""
    return {_DISTANCES, _LAYER + "conv_module.depthwise_conv.weight"} <= set(keys)


def recognise(shapes: Shapes) -> Layout | None:
    """Return the network of these keys, or none where it is no w2v-BERT."""
    if not is_w2vbert(shapes):
        return None
    sizes = w2vbert_sizes(shapes)
    choices = {
        "feat_dim": feat_dim_of(shapes),
        "embedding_dim": sizes["state_dim"],
        "backend": "mean",
    }
    return Layout(NAMES, choices, sizes, rename_bare, notes=(BARE,), frontend=FRONTEND)


def feat_dim_of(shapes: Shapes) -> int:
    """Return the mel bins, two frames of which are a step."""
    key = "feature_projection.projection.weight"
    return shapes.divide(shapes.columns(key), 2, key=key)


def w2vbert_sizes(shapes: Shapes) -> dict[str, Any]:
    """Return all sizes from keys and shapes."""
    state_dim = shapes.rows("feature_projection.projection.weight")
    return {
        "state_dim": state_dim,
        "num_layers": shapes.depth("encoder.layers"),
        "num_heads": shapes.divide(state_dim, shapes.columns(_DISTANCES), key=_DISTANCES),
        "ffn_dim": shapes.rows(_LAYER + "ffn1.intermediate_dense.weight"),
        "conv_kernel": shapes[_LAYER + "conv_module.depthwise_conv.weight"][-1],
        "left_positions": max(0, shapes.rows(_DISTANCES) - 1 - RIGHT_POSITIONS),
        "right_positions": RIGHT_POSITIONS,
    }


def rename_network(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's weights under our keys."""
    return {SSL + key: value for key, value in weights.items() if key != _MASK}


def rename_bare(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a bare network's weights under our keys, with equal shares of all layers."""
    layers = {key.split(".")[2] for key in weights if key.startswith("encoder.layers.")}
    return {**rename_network(weights), WEIGHTS: torch.zeros(len(layers) + 1)}
