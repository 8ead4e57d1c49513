"""Self-supervised networks as front-ends: hidden states in, one embedding an utterance out.

The learned front-end is part of the network, so that what holds for a network's weights holds
for its own. Kept from WeSpeaker: the softmax-weighted sum of all hidden states (s3prl's
featurizer), the mean over time taken off that sum, and the adapters of its w2v-BERT network.
Papers: weighted sum: Yang et al., "SUPERB", Interspeech 2021 (arXiv:2105.01051); adapters: Zhang
et al., "MFA-Conformer", Interspeech 2022, with the sizes of arXiv:2510.04213.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from sv_cli.errors import SettingsError
from sv_cli.models.pooling import make_pooling
from sv_cli.models.protocol import EncoderSettings, SpeakerEncoder
from sv_cli.models.registry import build_model, find_model
from sv_cli.settings.model import Settings, build_settings

MEAN = "mean"
ADAPTER_MFA = "adapter_mfa"


class SslSettings(EncoderSettings):
    """What is chosen around a self-supervised network."""

    backend: str = Field(
        "ecapa_glob_c512",
        description="what makes embeddings of the states: a network by name, `adapter_mfa`, or "
        "`mean` (over time and layers)",
    )
    backend_options: dict[str, Any] = Field({}, description="settings of the back-end to change")
    frozen: bool = Field(False, description="train the back-end only")
    mean_norm: bool = Field(
        True, description="subtract the mean over time of the weighted sum (networks only)"
    )


class HiddenStates(nn.Module, ABC):
    """A self-supervised network.

    Attributes
    ----------
    feat_dim : int
        Columns of its input.
    state_dim : int
        Size of a hidden state.
    num_states : int
        Input of the first layer, and the output of each.
    """

    feat_dim: int
    state_dim: int
    num_states: int

    @abstractmethod
    def forward(self, feats: Tensor) -> list[Tensor]:
        """Return all hidden states: (batch, frames, feat_dim) -> (batch, steps, state_dim) each."""

    @abstractmethod
    def num_inputs(self, num_steps: int) -> int:
        """Return how many frames give states of `num_steps` steps."""


class Head(nn.Module, ABC):
    """What makes an embedding of hidden states; `min_steps` is the fewest steps it needs."""

    min_steps: int

    @abstractmethod
    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Return (batch, embedding_dim) of states (batch, steps, state_dim)."""


class SummedStates(Head):
    """A network on the softmax-weighted sum of the states."""

    def __init__(self, num_states: int, network: SpeakerEncoder, *, mean_norm: bool) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(num_states))
        self.network = network
        self.mean_norm = mean_norm
        # The mean over one step would leave nothing.
        self.min_steps = max(network.min_frames, 2) if mean_norm else network.min_frames

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Return embeddings; see `Head`."""
        shares = torch.softmax(self.weights, dim=0)
        total = states[0] * shares[0]
        for number in range(1, len(states)):
            total = total + states[number] * shares[number]
        if self.mean_norm:
            total = total - total.mean(dim=1, keepdim=True)
        embeddings: Tensor = self.network(total)
        return embeddings


class MeanOverTime(SpeakerEncoder):
    """The mean of all steps, which is what a bare self-supervised network gives."""

    min_frames = 1

    def __init__(self, feat_dim: int) -> None:
        super().__init__()
        self.feat_dim = self.embedding_dim = feat_dim

    def forward(self, feats: Tensor) -> Tensor:
        """Return embeddings; see `SpeakerEncoder`."""
        self.check_feats(feats)
        return feats.mean(dim=1)


class AdapterMfaSettings(Settings):
    """Sizes of `AdapterMfa`."""

    adapter_dim: int = Field(128, ge=1, description="channels that are kept of each state")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of statistics dropped in training")


class AdapterMfa(Head):
    """Each state through an adapter of its own, side by side into attentive statistics."""

    def __init__(
        self, num_states: int, state_dim: int, embedding_dim: int, settings: AdapterMfaSettings
    ) -> None:
        super().__init__()
        width = settings.adapter_dim
        self.adapter_layers = nn.ModuleList(
            nn.Sequential(
                nn.Linear(state_dim, width),
                nn.LayerNorm(width),
                nn.ReLU(inplace=True),
                nn.Linear(width, width),
            )
            for _ in range(num_states)
        )
        self.pooling = make_pooling("ASP", width * num_states, bottleneck_dim=width)
        self.drop = nn.Dropout(settings.dropout)
        self.bottleneck = nn.Linear(self.pooling.out_dim, embedding_dim)
        self.min_steps = self.pooling.min_frames

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Return embeddings; see `Head`."""
        adapted = [
            adapter(state) for adapter, state in zip(self.adapter_layers, states, strict=True)
        ]
        maps = torch.cat(adapted, dim=-1).transpose(1, 2)
        # (batch, num_states * adapter_dim, steps)
        embeddings: Tensor = self.bottleneck(self.drop(self.pooling(maps)))
        return embeddings


def make_head(ssl: HiddenStates, settings: SslSettings) -> Head:
    """Return the back-end of the settings for the states of a network.

    Raises
    ------
    SettingsError
        When there is no such back-end, or it has no such settings.
    """
    size, options = settings.embedding_dim, settings.backend_options
    if settings.backend == ADAPTER_MFA:
        chosen = build_settings(AdapterMfaSettings, options, where="backend_options")
        return AdapterMfa(ssl.num_states, ssl.state_dim, size, chosen)
    if settings.backend == MEAN:
        if size != ssl.state_dim or options:
            raise SettingsError(
                f"backend `mean` gives embeddings of {ssl.state_dim} and has no settings",
                hint=f"`model_options.embedding_dim` is {size}",
            )
        return SummedStates(ssl.num_states, MeanOverTime(size), mean_norm=False)
    sizes = {"feat_dim": ssl.state_dim, "embedding_dim": size}
    network = build_model(find_model(settings.backend), **{**options, **sizes})
    return SummedStates(ssl.num_states, network, mean_norm=settings.mean_norm)


class SslEncoder(SpeakerEncoder):
    """A self-supervised network with its back-end."""

    def __init__(self, ssl: HiddenStates, settings: SslSettings) -> None:
        super().__init__()
        self.ssl = ssl
        self.head = make_head(ssl, settings)
        self.frozen = settings.frozen
        if self.frozen:
            ssl.requires_grad_(False)
        self.feat_dim = ssl.feat_dim
        self.embedding_dim = settings.embedding_dim
        self.min_frames = ssl.num_inputs(self.head.min_steps)

    def train(self, mode: bool = True) -> Self:
        """Switch to training; a frozen network stays as it is in evaluation."""
        super().train(mode)
        if self.frozen:
            self.ssl.eval()
        return self

    def forward(self, feats: Tensor) -> Tensor:
        """Return embeddings; see `SpeakerEncoder`."""
        self.check_feats(feats)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.ssl(feats)
        embeddings: Tensor = self.head(states)
        return embeddings
