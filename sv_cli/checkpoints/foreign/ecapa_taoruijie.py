"""TaoRuijie/ECAPA-TDNN: `pretrain.model`, with the classifier and mel filters in the same file.

Keys are ours after their prefix `speaker_encoder.`.
"""

from sv_cli.checkpoints.foreign.shapes import Layout, Shapes

FRONTEND = "taoruijie"


def recognise(shapes: Shapes) -> Layout | None:
    """Return the network of these keys, or none."""
    if not {"attention.0.weight", "bn6.weight", "layer1.se.se.1.weight"} <= set(shapes):
        return None
    choices = {
        "feat_dim": shapes.columns("conv1.weight"),
        "embedding_dim": shapes.rows("fc6.weight"),
    }
    names = ("ecapa_taoruijie_c1024", "ecapa_taoruijie_c512")
    return Layout(names, choices, {"channels": shapes.rows("conv1.weight")})
