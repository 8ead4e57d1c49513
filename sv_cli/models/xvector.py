"""x-vector: time-delay layers, statistics, one or two linear layers.

Paper: Snyder et al., "X-vectors: robust DNN embeddings for speaker recognition", ICASSP 2018.
State-dict keys are those of WeSpeaker's `tdnn.py`; 3D-Speaker's has the same without the second
linear layer. No layer pads, so that 14 frames are lost.
"""

from typing import Any

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sv_cli.models.blocks import SegmentEncoder, SegmentSettings
from sv_cli.settings.model import build_settings

KERNELS = (5, 3, 3, 1, 1)
DILATIONS = (1, 2, 3, 1, 1)
LOST_FRAMES = 14


class TdnnLayer(nn.Module):
    """Convolution over time, ReLU, BatchNorm without scale and shift."""

    def __init__(self, in_dim: int, out_dim: int, *, kernel: int, dilation: int) -> None:
        super().__init__()
        self.conv_1d = nn.Conv1d(in_dim, out_dim, kernel, dilation=dilation)
        self.bn = nn.BatchNorm1d(out_dim, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_dim, frames) to (batch, out_dim, frames - dilation * (kernel - 1))."""
        out: Tensor = self.bn(functional.relu(self.conv_1d(x), inplace=True))
        return out


class XvectorSettings(SegmentSettings):
    """Sizes of an x-vector network."""

    embedding_dim: int = Field(512, ge=1, description="size of the embedding")
    hidden_dim: int = Field(512, ge=1, description="channels of the first four layers")
    stats_dim: int = Field(1500, ge=1, description="channels of the layer under the pooling")
    two_emb_layer: bool = Field(True, description="a second linear layer gives the embedding")


class Xvector(SegmentEncoder):
    """Five time-delay layers, pooling and the segment layers."""

    def __init__(self, settings: XvectorSettings) -> None:
        super().__init__()
        dims = (settings.feat_dim, *[settings.hidden_dim] * 4, settings.stats_dim)
        for i, (kernel, dilation) in enumerate(zip(KERNELS, DILATIONS, strict=True)):
            layer = TdnnLayer(dims[i], dims[i + 1], kernel=kernel, dilation=dilation)
            self.add_module(f"frame_{i + 1}", layer)
        self.make_tail(settings.stats_dim, settings, frame_stride=1)
        self.min_frames += LOST_FRAMES

    def forward(self, feats: Tensor) -> Tensor:
        """Map (batch, frames, feat_dim) to (batch, embedding_dim)."""
        self.check_feats(feats)
        out = feats.transpose(1, 2)
        for i in range(len(KERNELS)):
            out = self.get_submodule(f"frame_{i + 1}")(out)
        return self.embed(out)


def _build(name: str, defaults: dict[str, Any], overrides: dict[str, Any]) -> Xvector:
    return Xvector(build_settings(XvectorSettings, defaults | overrides, where=name))


def xvector(**overrides: Any) -> Xvector:
    """Return WeSpeaker's XVEC (4.61 M parameters); the embedding is the second linear layer's."""
    return _build("xvector", {}, overrides)


def xvector_3dspeaker(**overrides: Any) -> Xvector:
    """Return 3D-Speaker's TDNN (4.35 M parameters), with one linear layer."""
    defaults = {"two_emb_layer": False, "pooling_eps": 1e-8}
    return _build("xvector_3dspeaker", defaults, overrides)
