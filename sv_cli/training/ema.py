"""A running mean of the weights: often better than the last ones, and free of their noise."""

from copy import deepcopy
from typing import Any

import torch

from sv_cli.models.protocol import SpeakerEncoder


class WeightMean:
    """Exponential mean of all weights and batch-norm statistics of a network.

    After step t (counted from 1) the mean moves by 1 - min(decay, t / (t + 9)) towards the
    network, so that the first steps are forgotten soon.

    Parameters
    ----------
    encoder : SpeakerEncoder
        The network that is trained, on its device.
    decay : float
        0 < decay < 1.

    Attributes
    ----------
    encoder : SpeakerEncoder
        A network with the mean weights.
    """

    def __init__(self, encoder: SpeakerEncoder, *, decay: float) -> None:
        self._source, self._decay = encoder, decay
        self.encoder = deepcopy(encoder).requires_grad_(False)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Count the weights after `step` steps."""
        share = 1.0 - min(self._decay, step / (step + 9.0))
        for mean, value in zip(self._tensors(), self._source.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, share)
            else:
                mean.copy_(value)

    def restart(self) -> None:
        """Begin again at the weights of the network."""
        self.encoder.load_state_dict(self._source.state_dict())

    def _tensors(self) -> list[Any]:
        return list(self.encoder.state_dict().values())
