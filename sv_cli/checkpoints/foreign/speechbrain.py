"""SpeechBrain: `embedding_model.ckpt` of its ECAPA-TDNN; keys and network are 3D-Speaker's."""

from sv_cli.checkpoints.foreign import threed_speaker
from sv_cli.checkpoints.foreign.shapes import Layout, Shapes

FRONTEND = "speechbrain"


def recognise(shapes: Shapes) -> Layout | None:
    """Return the ECAPA-TDNN of these keys, or none."""
    return threed_speaker.ecapa(shapes) if threed_speaker.is_ecapa(shapes) else None
