"""speaker-net: `encoder.ckpt`; the classifier `loss.*` and mel filters are in the same file.

Keys are ours.
"""

from typing import Any

from sv_cli.checkpoints.foreign.shapes import Layout, Shapes

FRONTEND = "speaker-net"
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
    return Layout(names, _of_map(shapes, 8 * channels), {"channels": channels})


def _repvgg(shapes: Shapes) -> Layout:
    deploy = "repvgg.stage0.rbr_reparam.weight" in shapes
    kernel = "rbr_reparam.weight" if deploy else "rbr_dense.conv.weight"
    channels = shapes.rows(f"repvgg.stage0.{kernel}")
    choices = _of_map(shapes, shapes.rows(f"repvgg.stage4.0.{kernel}"))
    if deploy:
        choices["deploy"] = True
    return Layout(("speaker_net_repvgg_b1",), choices, {"channels": channels})


def _of_map(shapes: Shapes, channels: int) -> dict[str, Any]:
    """Return features and embedding of a 2-D trunk; every head sees its part of the map."""
    map_dim = shapes.rows(_HEADS) * shapes.columns(_HEADS)
    return {"feat_dim": 8 * shapes.divide(map_dim, channels, key=_HEADS), **_embedding(shapes)}


def _embedding(shapes: Shapes) -> dict[str, Any]:
    return {"embedding_dim": shapes.rows("fc2.affine.weight")}
