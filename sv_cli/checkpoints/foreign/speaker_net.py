"""speaker-net: `encoder.ckpt`; the classifier `loss.*` and mel filters are in the same file.

Keys are ours.
"""

from collections.abc import Mapping
from typing import Any

from sv_cli.checkpoints.foreign.shapes import Layout, Shapes
from sv_cli.features.settings import FRONTENDS
from sv_cli.models.blocks import halve

FRONTEND = "speaker-net"
KALDI_FRONTEND = "speaker-net-kaldi"
_HEADS = "stats.attention.last_affine.affine.weight"


def recognise(shapes: Shapes) -> Layout | None:
    """Return the network of these keys, or none where speaker-net has no such network."""
    if "layer1.affine.weight" in shapes and "layer5.affine.weight" in shapes:
        return _ecapa(shapes)
    if "resnet.conv1.weight" in shapes and _HEADS in shapes:
        return _resnet(shapes)
    if shapes.has("repvgg.stage0.rbr_") and _HEADS in shapes:
        return _repvgg(shapes)
    return None


def _ecapa(shapes: Shapes) -> Layout:
    names = ("speaker_net_ecapa_c512", "speaker_net_ecapa_c1024")
    choices = {"feat_dim": shapes.columns("layer1.affine.weight"), **_embedding(shapes)}
    return Layout(names, choices, {"channels": shapes.rows("layer1.affine.weight")})


def _resnet(shapes: Shapes) -> Layout:
    names = ("speaker_net_resnet34_c32", "speaker_net_resnet34_c64")
    channels = shapes.rows("resnet.conv1.weight")
    choices = _of_map(shapes, 8 * channels)
    return Layout(names, choices, {"channels": channels}, notes=_guessed(choices))


def _repvgg(shapes: Shapes) -> Layout:
    deploy = "repvgg.stage0.rbr_reparam.weight" in shapes
    kernel = "rbr_reparam.weight" if deploy else "rbr_dense.conv.weight"
    channels = shapes.rows(f"repvgg.stage0.{kernel}")
    choices = _of_map(shapes, shapes.rows(f"repvgg.stage4.0.{kernel}"))
    if deploy:
        choices["deploy"] = True
    names, sizes = ("speaker_net_repvgg_b1",), {"channels": channels}
    return Layout(names, choices, sizes, notes=_guessed(choices))


def _of_map(shapes: Shapes, channels: int) -> dict[str, Any]:
    """Return features and embedding of a 2-D trunk; each attention head sees a part of the map.

    Three convolutions of stride 2 leave ceil(feat_dim / 8) bins. Of the eight values that fit, 81
    (80 mel bins and the energy of the Kaldi front-end) comes first, then a multiple of 8.
    """
    map_dim = shapes.rows(_HEADS) * shapes.columns(_HEADS)
    bins = shapes.divide(map_dim, channels, key=_HEADS)
    kaldi = FRONTENDS[KALDI_FRONTEND].feat_dim
    feat_dim = kaldi if halve(kaldi, 3) == bins else 8 * bins
    return {"feat_dim": feat_dim, **_embedding(shapes)}


def _guessed(choices: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is taken for granted of a 2-D trunk that may take Kaldi features."""
    if choices["feat_dim"] != FRONTENDS[KALDI_FRONTEND].feat_dim:
        return ()
    return ("taken for 80 mel bins and energy, 81 columns; networks of 82 to 88 have these shapes",)


def _embedding(shapes: Shapes) -> dict[str, Any]:
    return {"embedding_dim": shapes.rows("fc2.affine.weight")}
