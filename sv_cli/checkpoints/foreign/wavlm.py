"""WavLM: the files of its release (`WavLM-Large.pt`) and those on Hugging Face.

A bare network; it becomes a model whose embedding is the mean over time and layers. What neither
keys nor shapes show (norms first, normalised samples) goes with the norms of the convolutions, as
it does in all three published sizes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sv_cli.checkpoints.foreign.shapes import Layout, Shapes

FRONTEND = "waveform"
BASE, LARGE = ("wavlm_base", "wavlm_base_plus"), ("wavlm_large",)
BARE = "a network without a back-end: its embedding is the mean over time and layers"
SSL = "ssl.model."
WEIGHTS = "head.weights"
_FIRST = "encoder.layers.0."
_PLUS = re.compile(r"plus|\+", re.IGNORECASE)
_WIDE_KERNEL, _WIDE_STRIDE, _STRIDE = 10, 5, 2
# Keys of the release -> those of Hugging Face.
_OF_RELEASE = (
    (r"(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"(feature_extractor\.conv_layers\.\d+)\.2(?:\.1)?\.", r"\1.layer_norm."),
    (r"post_extract_proj\.", "feature_projection.projection."),
    (r"layer_norm\.", "feature_projection.layer_norm."),
    (r"encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"(encoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.layer_norm."),
    (r"(encoder\.layers\.\d+)\.self_attn\.grep_linear\.", r"\1.attention.gru_rel_pos_linear."),
    (r"(encoder\.layers\.\d+)\.self_attn\.grep_a$", r"\1.attention.gru_rel_pos_const"),
    (r"(encoder\.layers\.\d+)\.self_attn\.", r"\1.attention."),
    (r"(encoder\.layers\.0\.attention)\.relative_attention_bias\.", r"\1.rel_attn_embed."),
    (r"(encoder\.layers\.\d+)\.fc1\.", r"\1.feed_forward.intermediate_dense."),
    (r"(encoder\.layers\.\d+)\.fc2\.", r"\1.feed_forward.output_dense."),
)  # fmt: skip
# Keys of Hugging Face -> ours.
_OF_HUGGING_FACE = (
    (r"feature_projection\.", "encoder.feature_projection."),
    (r"(encoder\.pos_conv_embed\.conv)\.weight_g$", r"\1.parametrizations.weight.original0"),
    (r"(encoder\.pos_conv_embed\.conv)\.weight_v$", r"\1.parametrizations.weight.original1"),
    (r"(encoder\.layers\.\d+\.attention)\.out_proj\.", r"\1.attention.out_proj."),
    (r"encoder\.(?!feature_projection)", "encoder.transformer."),
)
_MASKS = ("mask_emb", "masked_spec_embed")


def is_wavlm(shapes: Iterable[str]) -> bool:
    """Return whether this is WavLM, by the gate of its relative positions."""
    keys = {_FIRST + "self_attn.grep_a", _FIRST + "attention.gru_rel_pos_const"}
    return not keys.isdisjoint(shapes)


def recognise(shapes: Shapes) -> Layout | None:
    """Return the network of these keys, or none where it is no WavLM."""
    return bare_layout(shapes) if is_wavlm(shapes) else None


def bare_layout(shapes: Shapes) -> Layout:
    """Return a WavLM with the mean over time after it."""
    renamed = shapes.rename(our_key)
    sizes = wavlm_sizes(renamed)
    choices = {"feat_dim": 1, "embedding_dim": sizes["state_dim"], "backend": "mean"}
    names = LARGE if sizes["norm_first"] else BASE
    return Layout(names, choices, sizes, rename_bare, notes=(BARE,), frontend=FRONTEND)


def prefer_named(layout: Layout, path: Path) -> Layout:
    """Return the layout with Base+ first where the path says so: both are the same network."""
    if layout.names != BASE:
        return layout
    named = any(_PLUS.search(part) for part in path.absolute().parts[-2:])
    return replace(layout, names=layout.names[::-1]) if named else layout


def wavlm_sizes(shapes: Shapes) -> dict[str, Any]:
    """Return all sizes from keys and shapes, under our keys."""
    convolutions = [
        shapes[f"feature_extractor.conv_layers.{number}.conv.weight"]
        for number in range(shapes.depth("feature_extractor.conv_layers"))
    ]
    layer, positions = "encoder.transformer.layers.0.", "encoder.transformer.pos_conv_embed.conv."
    kernel = positions + "parametrizations.weight.original1"
    state_dim = shapes.rows("encoder.feature_projection.projection.weight")
    norm_first = "feature_extractor.conv_layers.1.layer_norm.weight" in shapes
    return {
        "state_dim": state_dim,
        "num_layers": shapes.depth("encoder.transformer.layers"),
        "num_heads": shapes.columns(layer + "attention.gru_rel_pos_const"),
        "ffn_dim": shapes.rows(layer + "feed_forward.intermediate_dense.weight"),
        "convolutions": tuple(
            (shape[0], shape[2], _WIDE_STRIDE if shape[2] == _WIDE_KERNEL else _STRIDE)
            for shape in convolutions
        ),
        "conv_bias": "feature_extractor.conv_layers.0.conv.bias" in shapes,
        "conv_norm": "layer" if norm_first else "group",
        "norm_first": norm_first,
        "normalize_waveform": norm_first,
        "pos_kernel": shapes[kernel][-1],
        "pos_groups": shapes.divide(state_dim, shapes.columns(kernel), key=kernel),
        "num_buckets": shapes.rows(layer + "attention.rel_attn_embed.weight"),
    }


def our_key(key: str) -> str:
    """Return our key for one of the release or of Hugging Face."""
    for pattern, ours in (*_OF_RELEASE, *_OF_HUGGING_FACE):
        key = re.sub(f"^{pattern}", ours, key)
    return key


def rename_network(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's weights under our keys; query, key and value become one matrix."""
    renamed = {our_key(key): value for key, value in weights.items() if key not in _MASKS}
    for key in [key for key in renamed if ".attention.q_proj." in key]:
        parts = [key.replace(".q_proj.", f".{name}_proj.") for name in "qkv"]
        if all(part in renamed for part in parts):
            joined = torch.cat([renamed.pop(part) for part in parts])
            renamed[key.replace(".q_proj.", ".attention.in_proj_")] = joined
    return {SSL + key: value for key, value in renamed.items()}


def rename_bare(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a bare network's weights under our keys, with equal shares of all layers."""
    renamed = rename_network(weights)
    layers = {key.split(".layers.")[1].split(".")[0] for key in renamed if ".layers." in key}
    return {**renamed, WEIGHTS: torch.zeros(len(layers) + 1)}
