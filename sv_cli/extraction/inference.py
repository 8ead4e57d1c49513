"""The fastest faithful form of a network for extraction on a device."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sv_cli import logs
from sv_cli.extraction.fusion import fuse_network
from sv_cli.models.protocol import SpeakerEncoder

Embed = Callable[[Tensor], Tensor]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class PlainNetwork(nn.Module):
    """A copy of a network as it is, in eval mode; bf16 by autocast."""

    def __init__(self, encoder: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).eval()
        self.dtype = dtype

    def forward(self, feats: Tensor) -> Tensor:
        """Return (B, embedding_dim) float32."""
        half = self.dtype != torch.float32
        with torch.autocast(feats.device.type, self.dtype, enabled=half):
            embeddings: Tensor = self.encoder(feats)
        return embeddings.float()


def prepare_for_inference(
    encoder: SpeakerEncoder,
    precision: str,
    *,
    device: torch.device | None = None,
    fuse: bool = True,
) -> Embed:
    """Return a function (B, T, feat_dim) -> (B, embedding_dim) float32 that is this network.

    A copy is made: the network itself may be trained on. Batch norms are folded into the
    convolutions, activations and residual sums are computed with them, and memory is channels
    last; a network that cannot be traced is used as it is.

    Parameters
    ----------
    encoder : SpeakerEncoder
    precision : str
        `fp32` or `bf16`.
    device : torch.device, optional
        Where to compute; the network's own by default.
    fuse : bool
        False keeps the network as it is.
    """
    dtype = DTYPES[precision]
    network = _fused(encoder, dtype) if fuse else None
    if network is None:
        network = PlainNetwork(encoder, dtype)
    if device is not None:
        network = network.to(device)
    network.requires_grad_(False)

    @torch.inference_mode()
    def embed(feats: Tensor) -> Tensor:
        encoder.check_feats(feats)
        embeddings: Tensor = network(feats)
        return embeddings.float()

    return embed


def _fused(encoder: SpeakerEncoder, dtype: torch.dtype) -> nn.Module | None:
    try:
        return fuse_network(encoder, dtype=dtype)
    # torch.fx raises many kinds of errors for what it cannot trace; the plain network always works.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        logs.debug(f"the network is used unfused: {reason}")
        return None
