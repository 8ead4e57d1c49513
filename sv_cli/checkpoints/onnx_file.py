"""Exported models as models: the network's half of an ONNX file, computed by onnxruntime.

The front-end is svtool's own, of the settings in the file, so that short and long recordings are
treated as with any other model; that both front-ends agree was checked at the export.
"""

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from sv_cli.checkpoints.model_file import LoadedModel, find_model_file, load_model
from sv_cli.checkpoints.onnx_graph import (
    EMBEDDING,
    FEATURES,
    check_packages,
    cut_network,
    open_session,
)
from sv_cli.errors import CheckpointError
from sv_cli.features.settings import FrontendSettings
from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.tables.embeddings import ModelInfo

SUFFIX = ".onnx"


class OnnxEncoder(SpeakerEncoder):
    """A network that onnxruntime computes on the CPU in float32; it cannot be trained.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        From `features` to `embedding`.
    feat_dim, embedding_dim, min_frames : int
    """

    def __init__(self, session: Any, *, feat_dim: int, embedding_dim: int, min_frames: int) -> None:
        super().__init__()
        self.feat_dim = feat_dim
        self.embedding_dim = embedding_dim
        self.min_frames = min_frames
        self._session = session

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: nothing in it changes, and sessions cannot be copied."""
        return self

    def forward(self, feats: Tensor) -> Tensor:
        """Map (batch, frames, feat_dim) to (batch, embedding_dim)."""
        self.check_feats(feats)
        samples = feats.detach().float().cpu().contiguous().numpy()
        (embeddings,) = self._session.run([EMBEDDING], {FEATURES: samples})
        return torch.from_numpy(embeddings)


def load_any_model(spec: str | Path) -> LoadedModel:
    """Return the model that `spec` names, of svtool or exported by it, ready to extract."""
    if not is_onnx(spec):
        return load_model(spec)
    return load_onnx(find_model_file(spec))


def is_onnx(spec: str | Path) -> bool:
    """Return whether MODEL means an ONNX file."""
    return Path(spec).suffix.lower() == SUFFIX


def load_onnx(path: Path) -> LoadedModel:
    """Return an exported model.

    Raises
    ------
    CheckpointError
        When the packages are missing, or the file is damaged or not svtool's.
    """
    check_packages()
    import onnx

    try:
        graph = onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # the parser raises any type for broken bytes
        raise CheckpointError(f"`{path}`: damaged or not an ONNX file") from error
    kept = {row.key: row.value for row in graph.metadata_props}
    try:
        frontend = FrontendSettings.model_validate_json(kept["frontend_settings"])
        encoder = OnnxEncoder(
            open_session(cut_network(graph).SerializeToString()),
            feat_dim=frontend.feat_dim,
            embedding_dim=int(kept["embedding_dim"]),
            min_frames=int(kept["min_frames"]),
        )
        info = ModelInfo(
            model_hash=kept["model_hash"],
            embedding_dim=encoder.embedding_dim,
            sample_rate=frontend.sample_rate,
            frontend=kept["frontend"],
            model=kept["model"],
        )
    except CheckpointError as error:
        raise CheckpointError(f"`{path}`: {error.message}", hint=error.hint) from error
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"`{path}`: not an ONNX file that `svtool export` wrote",
            hint="export the model itself again with `svtool export MODEL OUT.onnx`",
        ) from error
    except Exception as error:  # onnxruntime has many kinds of its own
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"`{path}`: onnxruntime cannot load it: {reason}") from error
    return LoadedModel(encoder, frontend, info, path)
