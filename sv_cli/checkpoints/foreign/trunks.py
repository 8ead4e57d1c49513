"""Sizes of the networks that WeSpeaker and 3D-Speaker both have, from keys and shapes."""

from typing import Any

from sv_cli.checkpoints.foreign.shapes import Shapes, pooling_of

LAYERS = range(1, 5)
CAMPPLUS_HEAD_CHANNELS = 32
USUAL_FEAT_DIM = 80


def is_resnet(shapes: Shapes) -> bool:
    """Return whether this is a ResNet with a segment layer."""
    return {"conv1.weight", "layer1.0.conv2.weight", "seg_1.weight"} <= set(shapes)


def is_res2net(shapes: Shapes) -> bool:
    """Return whether this is a Res2Net, without any fusion."""
    own = {"conv1.weight", "layer1.0.convs.0.weight", "seg_1.weight"} <= set(shapes)
    return own and not shapes.has("fuse")


def is_eres2net(shapes: Shapes) -> bool:
    """Return whether this is an ERes2Net of the first version, of either project."""
    return shapes.has("fuse_mode12.") and "layer1.0.convs.0.weight" in shapes


def is_campplus(shapes: Shapes) -> bool:
    """Return whether this is a CAM++."""
    return shapes.has("xvector.block1.tdnnd1.cam_layer.")


def is_xvector(shapes: Shapes) -> bool:
    """Return whether this is an x-vector network."""
    return "frame_1.conv_1d.weight" in shapes


def resnet_sizes(shapes: Shapes) -> dict[str, Any]:
    """Return stem, kind of block and depths of a ResNet."""
    bottleneck = "layer1.0.conv3.weight" in shapes
    return {
        "m_channels": shapes.rows("conv1.weight"),
        "block": "bottleneck" if bottleneck else "basic",
        "num_blocks": shapes.depths("layer", LAYERS),
    }


def res2net_sizes(shapes: Shapes) -> dict[str, Any]:
    """Return stem, depths, width, scale and expansion of a Res2Net-type trunk."""
    m_channels = shapes.rows("conv1.weight")
    width = shapes.rows("layer1.0.convs.0.weight")
    # The widest stage leaves no rounding: it has 8 m planes, and m is a multiple of 8.
    widest = shapes.rows("layer4.0.convs.0.weight")
    key = "layer1.0.conv1.weight"
    return {
        "m_channels": m_channels,
        "num_blocks": shapes.depths("layer", LAYERS),
        "base_width": 64 * widest // (8 * m_channels),
        "scale": shapes.divide(shapes.rows(key), width, key=key),
        "expansion": shapes.divide(
            shapes.rows("layer1.0.conv3.weight"), m_channels, key="layer1.0.conv3.weight"
        ),
    }


def segment_choices(shapes: Shapes, channels: int) -> dict[str, Any]:
    """Return features, embedding, pooling and second layer of a 2-D trunk that ends in `seg_1`.

    Parameters
    ----------
    channels : int
        Channels of the last map, whose bins are an eighth of the features.
    """
    pooled = pooling_of(shapes, "seg_1.weight")
    choices: dict[str, Any] = {
        "feat_dim": 8 * shapes.divide(pooled.map_dim, channels, key="seg_1.weight"),
        "embedding_dim": shapes.rows("seg_1.weight"),
    }
    if pooled.name != "TSTP":
        choices["pooling"] = pooled.name
    if "seg_2.weight" in shapes:
        choices["two_emb_layer"] = True
    return choices


def taken_for_granted(choices: dict[str, Any]) -> tuple[str, ...]:
    """Say that half the usual features may be all of them under another pooling."""
    feat_dim = choices["feat_dim"]
    if "pooling" in choices or 2 * feat_dim != USUAL_FEAT_DIM:
        return ()
    return (
        f"taken for TSTP over {feat_dim} bins; TAP over {USUAL_FEAT_DIM} has the same shapes,"
        " which WeSpeaker's `config.yaml` next to the weights would give",
    )


def resnet_choices(shapes: Shapes) -> dict[str, Any]:
    """Return the settings that a ResNet's name lacks."""
    expansion = 4 if "layer1.0.conv3.weight" in shapes else 1
    return segment_choices(shapes, 8 * shapes.rows("conv1.weight") * expansion)


def res2net_choices(shapes: Shapes) -> dict[str, Any]:
    """Return the settings that the name of a Res2Net-type network lacks."""
    last = shapes.depth("layer4") - 1
    return segment_choices(shapes, shapes.rows(f"layer4.{last}.conv3.weight"))


def campplus_sizes(shapes: Shapes) -> dict[str, Any]:
    """Return widths of a CAM++."""
    growth = shapes.rows("xvector.block1.tdnnd1.cam_layer.linear_local.weight")
    key = "xvector.block1.tdnnd1.linear1.weight"
    return {
        "channels": shapes.rows("xvector.tdnn.linear.weight"),
        "growth": growth,
        "bottleneck": shapes.divide(shapes.rows(key), growth, key=key),
    }


def campplus_choices(shapes: Shapes) -> dict[str, Any]:
    """Return features, embedding and pooling of a CAM++."""
    tdnn, dense = "xvector.tdnn.linear.weight", "xvector.dense.linear.weight"
    choices: dict[str, Any] = {
        "feat_dim": 8 * shapes.divide(shapes.columns(tdnn), CAMPPLUS_HEAD_CHANNELS, key=tdnn),
        "embedding_dim": shapes.rows(dense),
    }
    pooled_dim = shapes.rows("xvector.out_nonlinear.batchnorm.weight")
    if shapes.columns(dense) == pooled_dim:
        choices["pooling"] = "TAP"
    return choices


def xvector_sizes(shapes: Shapes) -> dict[str, Any]:
    """Return widths of an x-vector network."""
    return {
        "hidden_dim": shapes.rows("frame_1.conv_1d.weight"),
        "stats_dim": shapes.rows("frame_5.conv_1d.weight"),
    }


def xvector_choices(shapes: Shapes) -> dict[str, Any]:
    """Return features, embedding and pooling of an x-vector network."""
    choices: dict[str, Any] = {
        "feat_dim": shapes.columns("frame_1.conv_1d.weight"),
        "embedding_dim": shapes.rows("seg_1.weight"),
    }
    if shapes.columns("seg_1.weight") == shapes.rows("frame_5.conv_1d.weight"):
        choices["pooling"] = "TAP"
    learned = pooling_of(shapes, "seg_1.weight").name if shapes.has("pool.") else "TSTP"
    if learned != "TSTP":
        choices["pooling"] = learned
    return choices
