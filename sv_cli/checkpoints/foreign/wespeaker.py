"""WeSpeaker: `avg_model.pt`, with or without its `config.yaml`.

A checkpoint is a flat state dict: the network's keys, `projection.*` (the classifier) and, with a
learned front-end (`wespeaker_ssl`), `frontend.*`. Keys are ours but for the fusing blocks of
ERes2Net.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from sv_cli.checkpoints.foreign import trunks, wespeaker_ssl
from sv_cli.checkpoints.foreign.shapes import Layout, Shapes, pooling_of, sees_context
from sv_cli.models.registry import MODELS

FRONTEND = "wespeaker"
_ECAPA = ("ecapa_c512", "ecapa_c1024", "ecapa_glob_c512", "ecapa_glob_c1024")
_RESNET = tuple(f"resnet{depth}" for depth in (34, 18, 50, 101, 152, 221, 293))
_RES2NET = ("res2net34_base", "res2net34_large")
_ERES2NET = ("eres2net34_base", "eres2net34_large", "eres2net34_aug")
_DFRESNET = ("dfresnet60", "dfresnet114", "dfresnet183", "dfresnet237")
_REPVGG = tuple(name for name in MODELS if name.startswith("repvgg_"))
_REDIMNET = tuple(name for name in MODELS if name.startswith("redimnet_"))
_REDIMNET2 = "redimnet2_b6_wespeaker"
_REDIMNET2_CHANNELS = 64
REPVGG_WIDTHS = (64, 128, 256, 512)
# Networks of 3D-Speaker that WeSpeaker hands out under its own keys, with their own front-end.
_OF_DAMO = re.compile(r"(campplus|eres2net)_cn_comm?o[mn]")


def recognise(shapes: Shapes) -> Layout | None:
    """Return the network of these keys, or none where WeSpeaker has no such network."""
    if wespeaker_ssl.has_frontend(shapes):
        return wespeaker_ssl.recognise(shapes, recognise)
    for test, read in _FAMILIES:
        if test(shapes):
            return read(shapes)
    return None


def is_of_damo(path: Path) -> bool:
    """Return whether, by its name, WeSpeaker took a network over from 3D-Speaker."""
    return any(_OF_DAMO.search(part.lower()) for part in path.absolute().parts[-3:])


def _is_ecapa(shapes: Shapes) -> bool:
    return "layer1.conv.weight" in shapes and shapes.has("layer2.se_res2block.1.convs.")


def _ecapa(shapes: Shapes) -> Layout:
    pooled = pooling_of(shapes, "linear.weight")
    choices: dict[str, Any] = {
        "feat_dim": shapes.columns("layer1.conv.weight"),
        "embedding_dim": shapes.rows("linear.weight"),
    }
    sizes: dict[str, Any] = {"channels": shapes.rows("layer1.conv.weight")}
    if "bn2.weight" in shapes:
        choices["embedding_norm"] = True
    if pooled.name == "XI":
        names = ("xi_vector_ecapa_c512", "xi_vector_ecapa_c1024")
        return Layout(names, choices, sizes)
    if pooled.name == "ASTP":
        return Layout(_ECAPA, choices, {**sizes, "global_context": sees_context(shapes)})
    return Layout(_ECAPA, {**choices, "pooling": pooled.name}, sizes)


def _is_eres2net(shapes: Shapes) -> bool:
    return trunks.is_eres2net(shapes) and shapes.has(".conv2_1.")


def _eres2net(shapes: Shapes) -> Layout:
    sizes = trunks.res2net_sizes(shapes)
    return Layout(_ERES2NET, trunks.res2net_choices(shapes), sizes, rename_fusing_blocks)


def rename_fusing_blocks(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under 3D-Speaker's keys, which are ours.

    In a block that fuses, WeSpeaker names the first group's convolution `conv2_1` and counts the
    others from 0; all shapes are equal, so a wrong order would load and give wrong embeddings.
    """
    fusing = {key.partition(".conv2_1.")[0] for key in weights if ".conv2_1." in key}

    def rename(key: str) -> str:
        match = re.fullmatch(r"(layer\d+\.\d+)\.(conv|bn)(2_1|s\.(\d+))\.(.+)", key)
        if match is None or match[1] not in fusing:
            return key
        number = 0 if match[3] == "2_1" else int(match[4]) + 1
        return f"{match[1]}.{match[2]}s.{number}.{match[5]}"

    return {rename(key): value for key, value in weights.items()}


def _res2net(shapes: Shapes) -> Layout:
    choices = trunks.res2net_choices(shapes)
    notes = trunks.taken_for_granted(choices)
    return Layout(_RES2NET, choices, trunks.res2net_sizes(shapes), notes=notes)


def _resnet(shapes: Shapes) -> Layout:
    choices = trunks.resnet_choices(shapes)
    notes = trunks.taken_for_granted(choices)
    return Layout(_RESNET, choices, trunks.resnet_sizes(shapes), notes=notes)


def _campplus(shapes: Shapes) -> Layout:
    return Layout(("campplus",), trunks.campplus_choices(shapes), trunks.campplus_sizes(shapes))


def _is_xvector(shapes: Shapes) -> bool:
    return trunks.is_xvector(shapes) and "seg_2.weight" in shapes


def _xvector(shapes: Shapes) -> Layout:
    choices = trunks.xvector_choices(shapes)
    names = ("xvector",)
    if choices.get("pooling") == "XI":
        del choices["pooling"]
        names = ("xi_vector_xvec",)
    return Layout(names, choices, trunks.xvector_sizes(shapes))


def _is_repvgg(shapes: Shapes) -> bool:
    return shapes.has("stage0.rbr_") and "seg.weight" in shapes


def _repvgg(shapes: Shapes) -> Layout:
    deploy = "stage0.rbr_reparam.weight" in shapes
    kernel = "rbr_reparam.weight" if deploy else "rbr_dense.conv.weight"
    widths = [shapes.rows(f"stage{stage}.0.{kernel}") for stage in trunks.LAYERS]
    map_dim = pooling_of(shapes, "seg.weight").map_dim
    choices: dict[str, Any] = {
        "feat_dim": 8 * shapes.divide(map_dim, widths[-1], key="seg.weight"),
        "embedding_dim": shapes.rows("seg.weight"),
    }
    if deploy:
        choices["deploy"] = True
    sizes = {
        "blocks": shapes.depths("stage", trunks.LAYERS),
        "widths": tuple(w / base for w, base in zip(widths, REPVGG_WIDTHS, strict=True)),
        "dilated": shapes.has("rbr_dense_dilation") or shapes[f"stage0.{kernel}"][-1] == 5,
        "squeeze": shapes.has(".se."),
    }
    return Layout(_REPVGG, choices, sizes)


def _is_dfresnet(shapes: Shapes) -> bool:
    return "downsample_layers.0.0.weight" in shapes and "stages.0.0.conv1.weight" in shapes


def _dfresnet(shapes: Shapes) -> Layout:
    pooled = pooling_of(shapes, "seg_1.weight")
    last = shapes.rows("downsample_layers.4.0.weight")
    choices: dict[str, Any] = {
        "feat_dim": 16 * shapes.divide(pooled.map_dim, last, key="seg_1.weight"),
        "embedding_dim": shapes.rows("seg_1.weight"),
    }
    if pooled.name != "TSTP":
        choices["pooling"] = pooled.name
    if "seg_2.weight" in shapes:
        choices["two_emb_layer"] = True
    return Layout(_DFRESNET, choices, {"depths": shapes.depths("stages.", range(4))})


def _is_simam(shapes: Shapes) -> bool:
    return "front.conv1.weight" in shapes and "bottleneck.weight" in shapes


def _simam(shapes: Shapes) -> Layout:
    channels = shapes.rows("front.conv1.weight")
    key = "pooling.attention.0.weight"
    choices = {
        "feat_dim": 8 * shapes.divide(shapes.columns(key), 8 * channels, key=key),
        "embedding_dim": shapes.rows("bottleneck.weight"),
    }
    sizes = {"channels": channels, "blocks": shapes.depths("front.layer", trunks.LAYERS)}
    return Layout(("simam_resnet34", "simam_resnet100"), choices, sizes)


def _redimnet(shapes: Shapes) -> Layout:
    key = "backbone.inputs_weights.1"
    return _of_grid(shapes, _REDIMNET, key=key, head="seg_1.weight")


def _is_redimnet2(shapes: Shapes) -> bool:
    """Return whether this is ReDimNet2-B6, the only size of which WeSpeaker has weights."""
    return (
        "backbone.fin_wght1d.w" in shapes
        and shapes.rows("backbone.stem.0.weight") == _REDIMNET2_CHANNELS
    )


def _redimnet2(shapes: Shapes) -> Layout:
    layout = _of_grid(shapes, (_REDIMNET2,), key="backbone.fin_wght1d.w", head="linear.weight")
    return replace(layout, frontend="tfmel")


def _of_grid(shapes: Shapes, names: tuple[str, ...], *, key: str, head: str) -> Layout:
    """Return a ReDimNet; `key` is a weight of its maps, of channels times bins."""
    channels = shapes.rows("backbone.stem.0.weight")
    size = shapes[key][2] if len(shapes[key]) == 4 else 0
    choices: dict[str, Any] = {
        "feat_dim": shapes.divide(size, channels, key=key),
        "embedding_dim": shapes.rows(head),
    }
    if not sees_context(shapes):
        choices["global_context"] = False
    if "bn2.weight" in shapes:
        choices["embedding_norm"] = True
    return Layout(names, choices)


_FAMILIES = (
    (_is_ecapa, _ecapa),
    (_is_eres2net, _eres2net),
    (trunks.is_res2net, _res2net),
    (trunks.is_resnet, _resnet),
    (trunks.is_campplus, _campplus),
    (_is_xvector, _xvector),
    (_is_repvgg, _repvgg),
    (_is_dfresnet, _dfresnet),
    (_is_simam, _simam),
    (
        lambda shapes: "backbone.inputs_weights.0" in shapes and "seg_1.weight" in shapes,
        _redimnet,
    ),
    (_is_redimnet2, _redimnet2),
)
