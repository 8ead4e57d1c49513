"""3D-Speaker: the checkpoints of ModelScope, and `embedding_model.ckpt` of its recipes.

A file is a plain state dict of the network alone; the self-supervised ones hold a `teacher` and a
`student` with `backbone.*` and `head.*`. Keys are ours.
"""

from sv_cli.checkpoints.foreign import trunks
from sv_cli.checkpoints.foreign.shapes import Layout, Shapes

FRONTEND = "3dspeaker"
SELF_SUPERVISED_FRONTEND = "3dspeaker-ssl"
_ECAPA = ("ecapa_3dspeaker_c1024", "ecapa_3dspeaker_c512")
_ERES2NET = ("eres2net_base", "eres2net_large", "eres2net_huge")


def recognise(shapes: Shapes) -> Layout | None:
    """Return the network of these keys, or none where 3D-Speaker has no such network."""
    for test, read in _FAMILIES:
        if test(shapes):
            return read(shapes)
    return None


def is_ecapa(shapes: Shapes) -> bool:
    """Return whether this is SpeechBrain's layout of an ECAPA-TDNN, which 3D-Speaker uses."""
    return "blocks.0.conv.conv.weight" in shapes and "fc.conv.weight" in shapes


def ecapa(shapes: Shapes) -> Layout:
    """Return an ECAPA-TDNN of SpeechBrain's layout."""
    choices = {
        "feat_dim": shapes.columns("blocks.0.conv.conv.weight"),
        "embedding_dim": shapes.rows("fc.conv.weight"),
    }
    return Layout(_ECAPA, choices, {"channels": shapes.rows("blocks.0.conv.conv.weight")})


def _is_eres2net(shapes: Shapes) -> bool:
    return trunks.is_eres2net(shapes) and not shapes.has(".conv2_1.")


def _eres2net(shapes: Shapes) -> Layout:
    return Layout(_ERES2NET, trunks.res2net_choices(shapes), trunks.res2net_sizes(shapes))


def _is_eres2netv2(shapes: Shapes) -> bool:
    return shapes.has("fuse34.") and "layer1.0.convs.0.weight" in shapes


def _eres2netv2(shapes: Shapes) -> Layout:
    names = ("eres2netv2", "eres2netv2_w24s4ep4")
    return Layout(names, trunks.res2net_choices(shapes), trunks.res2net_sizes(shapes))


def _res2net(shapes: Shapes) -> Layout:
    names = ("res2net34_3dspeaker",)
    return Layout(names, trunks.res2net_choices(shapes), trunks.res2net_sizes(shapes))


def _is_resnet(shapes: Shapes) -> bool:
    # Basic blocks and two linear layers, as its recipes have them; others are WeSpeaker's alone.
    second = "seg_2.weight" in shapes and "layer1.0.conv3.weight" not in shapes
    return trunks.is_resnet(shapes) and second and not shapes.has("pool.")


def _resnet(shapes: Shapes) -> Layout:
    choices = trunks.resnet_choices(shapes)
    del choices["two_emb_layer"]  # its default
    return Layout(("resnet34_3dspeaker",), choices, trunks.resnet_sizes(shapes))


def _campplus(shapes: Shapes) -> Layout:
    names = ("campplus_3dspeaker",)
    return Layout(names, trunks.campplus_choices(shapes), trunks.campplus_sizes(shapes))


def _is_xvector(shapes: Shapes) -> bool:
    return trunks.is_xvector(shapes) and "seg_2.weight" not in shapes


def _xvector(shapes: Shapes) -> Layout:
    names = ("xvector_3dspeaker",)
    return Layout(names, trunks.xvector_choices(shapes), trunks.xvector_sizes(shapes))


_FAMILIES = (
    (is_ecapa, ecapa),
    (_is_eres2net, _eres2net),
    (_is_eres2netv2, _eres2netv2),
    (trunks.is_res2net, _res2net),
    (_is_resnet, _resnet),
    (trunks.is_campplus, _campplus),
    (_is_xvector, _xvector),
)
