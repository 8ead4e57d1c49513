"""WeSpeaker's networks with a learned front-end: WavLM by s3prl, and w2v-BERT 2.0.

A checkpoint holds the front-end as `frontend.*` next to the keys of the network after it. LoRA
matrices of w2v-BERT are added to the weights that they change.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from sv_cli.checkpoints.foreign import w2vbert, wavlm
from sv_cli.checkpoints.foreign.shapes import Layout, Shapes
from sv_cli.checkpoints.foreign.wespeaker_config import WespeakerConfig
from sv_cli.errors import CheckpointError
from sv_cli.models.lora import merge_lora

FRONTEND = "frontend."
S3PRL = "frontend.upstream.upstream.model."
FEATURIZER = "frontend.featurizer.weights"
W2VBERT = "frontend.encoder."
HEAD, NETWORK = "head.", "head.network."
LORA_SCALE = 2.0  # alpha / r of the recipe
LORA_NOTE = f"LoRA matrices are added with the recipe's alpha / r of {LORA_SCALE:g}"
_PEFT = "base_model.model."
_BASE_LAYER = ".base_layer."
_OTHERS = (("frontend.encoder.blocks.", "Whisper"), ("frontend.upstream.", "s3prl, no WavLM"))


def has_frontend(shapes: Shapes) -> bool:
    """Return whether a front-end was learned."""
    return any(key.startswith(FRONTEND) for key in shapes)


def recognise(
    shapes: Shapes, recognise_network: Callable[[Shapes], Layout | None]
) -> Layout | None:
    """Return front-end and network of these keys, or none where the network is unknown.

    Raises
    ------
    CheckpointError
        When the front-end is one that is not read.
    """
    rest = shapes.select(lambda key: not key.startswith(FRONTEND))
    inner = shapes.select(lambda key: key.startswith(S3PRL)).rename(lambda key: key[len(S3PRL) :])
    if wavlm.is_wavlm(inner):
        network = recognise_network(rest)
        return None if network is None else _on_wavlm(inner, network)
    inner = shapes.select(lambda key: key.startswith(W2VBERT)).rename(_plain_key)
    if w2vbert.is_w2vbert(inner) and "adapter_layers.0.0.weight" in rest:
        return _on_w2vbert(inner, rest)
    keys = [key for key in shapes if key.startswith(FRONTEND)]
    named = (name for start, name in _OTHERS if any(key.startswith(start) for key in keys))
    kind = next(named, "unknown")
    raise CheckpointError(
        f"{shapes.what}: the network of its front-end ({kind}) is not read: `{keys[0]}`",
        hint="WavLM and w2v-BERT 2.0 are, and networks on filter banks",
    )


def _on_wavlm(inner: Shapes, network: Layout) -> Layout:
    bare = wavlm.bare_layout(inner)
    choices = {
        "feat_dim": 1,
        "embedding_dim": network.choices["embedding_dim"],
        "repeat_last": True,
    }
    return replace(
        bare,
        choices=choices,
        rename=partial(_rename_wavlm, network=network),
        notes=network.notes,
        backend=network,
    )


def _rename_wavlm(weights: Mapping[str, Tensor], *, network: Layout) -> dict[str, Tensor]:
    upstream = {key[len(S3PRL) :]: w for key, w in weights.items() if key.startswith(S3PRL)}
    rest = {key: w for key, w in weights.items() if not key.startswith(FRONTEND)}
    renamed = wavlm.rename_network(upstream)
    renamed |= {NETWORK + key: w for key, w in network.rename(rest).items()}
    renamed |= {key: w for key, w in weights.items() if _is_left(key)}
    if FEATURIZER in weights:
        renamed[wavlm.WEIGHTS] = weights[FEATURIZER]
    return renamed


def _is_left(key: str) -> bool:
    """Return keys of the front-end without a target, to be named as unexpected."""
    return key.startswith(FRONTEND) and not key.startswith(S3PRL) and key != FEATURIZER


def _on_w2vbert(inner: Shapes, rest: Shapes) -> Layout:
    choices = {
        "feat_dim": w2vbert.feat_dim_of(inner),
        "embedding_dim": rest.rows("bottleneck.weight"),
    }
    sizes = w2vbert.w2vbert_sizes(inner)
    width = rest.rows("adapter_layers.0.0.weight")
    lora = any(".lora_" in key for key in inner)
    return Layout(
        w2vbert.NAMES,
        choices,
        {**sizes, "backend_options": {"adapter_dim": width}},
        partial(_rename_w2vbert, scale=LORA_SCALE),
        notes=(LORA_NOTE,) if lora else (),
        frontend=w2vbert.FRONTEND,
    )


def _plain_key(key: str) -> str:
    """Return the key without the wrappers of PEFT."""
    return key[len(W2VBERT) :].removeprefix(_PEFT).replace(_BASE_LAYER, ".")


def _rename_w2vbert(weights: Mapping[str, Tensor], *, scale: float) -> dict[str, Tensor]:
    inner = {_plain_key(key): w for key, w in weights.items() if key.startswith(W2VBERT)}
    renamed = w2vbert.rename_network(merge_lora(inner, scale=scale))
    for key, weight in weights.items():
        if not key.startswith(W2VBERT):
            renamed[key if key.startswith(FRONTEND) else HEAD + key] = weight
    return renamed


def with_config(layout: Layout, config: WespeakerConfig) -> Layout:
    """Return the layout with what only WeSpeaker's configuration holds.

    Raises
    ------
    CheckpointError
        When the front-end was used in a way that svtool does not know.
    """
    arguments = config.frontend_args
    if layout.backend is None:
        lora = arguments.get("lora_config_args") or {}
        if {"r", "lora_alpha"} <= lora.keys():
            scale = float(lora["lora_alpha"]) / float(lora["r"])
            return replace(layout, rename=partial(_rename_w2vbert, scale=scale), notes=())
        return layout
    upstream = arguments.get("upstream_args") or {}
    if not arguments.get("multilayer_feature", True) or upstream.get("normalize"):
        raise CheckpointError(f"`{config.path}`: only the sum of all layers, unnormalised, is read")
    network = replace(layout.backend, choices=config.adjust(layout.backend.choices), notes=())
    choices: dict[str, Any] = {**layout.choices, "mean_norm": config.subtracts_mean}
    rename = partial(_rename_wavlm, network=network)
    return replace(layout, choices=choices, rename=rename, backend=network, notes=())
