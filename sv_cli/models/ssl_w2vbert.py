"""w2v-BERT 2.0 as a front-end: filter banks in, hidden states every 20 ms, then adapters.

Papers: Barrault et al., "Seamless", 2023 (arXiv:2312.05187); the adapters and the recipe for
speakers: arXiv:2510.04213. The modules and their keys are those of `transformers`
(`Wav2Vec2BertModel`); the filter banks come from the front-end `w2vbert`, and what the network
wants done to them is done here.
"""

from contextlib import suppress
from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from sv_cli.audio.torchaudio_door import load_torchaudio
from sv_cli.errors import SvError
from sv_cli.models.lora import LoraSettings, add_lora
from sv_cli.models.ssl_frontend import ADAPTER_MFA, HiddenStates, SslEncoder, SslSettings
from sv_cli.settings.model import build_settings

FRAMES_A_STEP = 2
_VARIANCE_FLOOR = 1e-7


class W2vBertSettings(SslSettings):
    """Sizes of a w2v-BERT; the defaults are those of w2v-BERT 2.0 and of WeSpeaker's head."""

    feat_dim: int = Field(80, ge=1, description="mel bins")
    embedding_dim: int = Field(256, ge=1, description="size of the embedding")
    backend: str = Field(
        ADAPTER_MFA,
        description="what makes embeddings of the states: a network by name, `adapter_mfa`, or "
        "`mean` (over time and layers)",
    )
    state_dim: int = Field(1024, ge=1, description="size of a hidden state")
    num_layers: int = Field(24, ge=1, description="conformer layers")
    num_heads: int = Field(16, ge=1, description="heads of the attention")
    ffn_dim: int = Field(4096, ge=1, description="inner size of the feed-forward parts")
    conv_kernel: int = Field(31, ge=1, description="kernel of the depth-wise convolutions")
    left_positions: int = Field(64, ge=0, description="steps to the left with their own position")
    right_positions: int = Field(8, ge=0, description="steps to the right with their own position")
    conv_dropout: float = Field(0.1, ge=0, lt=1, description="dropout of the convolutions")
    lora: LoraSettings = Field(
        LoraSettings(), description="train pairs on linear layers, and the back-end"
    )

    @model_validator(mode="after")
    def _check_frozen(self) -> Self:
        if self.frozen and self.lora.rank > 0:
            raise ValueError("`lora` freezes all but its pairs, it excludes `frozen`")
        return self


class W2vBert(HiddenStates):
    """Normalisation of the filter banks, two frames a step, and the conformer."""

    def __init__(self, settings: W2vBertSettings) -> None:
        super().__init__()
        self.model = make_conformer(settings)
        self.feat_dim = settings.feat_dim
        self.state_dim = settings.state_dim
        self.num_states = settings.num_layers + 1

    def num_inputs(self, num_steps: int) -> int:
        """Return how many frames give `num_steps` steps."""
        return FRAMES_A_STEP * num_steps

    def forward(self, feats: Tensor) -> list[Tensor]:
        """Return the states: (batch, frames, mel bins) -> (batch, steps, state_dim) each."""
        steps = self.model(stack_frames(feats), output_hidden_states=True, return_dict=True)
        return list(steps.hidden_states)


def stack_frames(feats: Tensor) -> Tensor:
    """Return the network's input: each bin of mean 0 and variance 1, two frames a step.

    (batch, frames, bins) -> (batch, frames / 2, 2 * bins); an odd last frame counts for mean and
    variance only.
    """
    centred = feats - feats.mean(dim=1, keepdim=True)
    variance = centred.square().sum(dim=1, keepdim=True) / (feats.shape[1] - 1)
    normalized = centred * torch.rsqrt(variance + _VARIANCE_FLOOR)
    num_steps = feats.shape[1] // FRAMES_A_STEP
    return normalized[:, : FRAMES_A_STEP * num_steps].reshape(
        feats.shape[0], num_steps, FRAMES_A_STEP * feats.shape[2]
    )


def make_conformer(settings: W2vBertSettings) -> nn.Module:
    """Return the `Wav2Vec2BertModel` of these sizes.

    Raises
    ------
    SvError
        When transformers is not installed.
    """
    with suppress(SvError):  # transformers imports torchaudio where it is there, and wants it whole
        load_torchaudio()
    try:
        from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel
    except ImportError as error:
        raise SvError(
            "w2v-BERT needs the package transformers", hint="pip install 'svtool[ssl]'"
        ) from error
    config = Wav2Vec2BertConfig(
        feature_projection_input_dim=FRAMES_A_STEP * settings.feat_dim,
        hidden_size=settings.state_dim,
        num_hidden_layers=settings.num_layers,
        num_attention_heads=settings.num_heads,
        intermediate_size=settings.ffn_dim,
        conv_depthwise_kernel_size=settings.conv_kernel,
        position_embeddings_type="relative_key",
        left_max_position_embeddings=settings.left_positions,
        right_max_position_embeddings=settings.right_positions,
        hidden_act="swish",
        conformer_conv_dropout=settings.conv_dropout,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        layerdrop=0.0,
        apply_spec_augment=False,
        mask_time_prob=0.0,  # and so no embedding of masked steps
        mask_feature_prob=0.0,
    )
    model: nn.Module = Wav2Vec2BertModel(config)
    return model


def w2vbert2_mfa(**overrides: Any) -> SslEncoder:
    """w2v-BERT 2.0 with adapters: `W2VBert_Adapter_MFA` of WeSpeaker."""
    settings = build_settings(W2vBertSettings, overrides, where="w2vbert2_mfa")
    encoder = SslEncoder(W2vBert(settings), settings)
    if settings.lora.rank > 0:
        add_lora(encoder.ssl, settings.lora)  # last: the draws before are those without pairs
    return encoder
