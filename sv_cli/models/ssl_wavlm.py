"""WavLM as a front-end: samples in, hidden states every 20 ms, then any network of the zoo.

Paper: Chen et al., IEEE JSTSP 2022 (arXiv:2110.13900). The modules and their keys are torchaudio's
(`models.wavlm_model`); the hidden states are those of s3prl: what goes into the first layer, what
comes out of each, the last one after the final norm where the network has one.
"""

import math
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from sv_cli.audio.torchaudio_door import load_torchaudio
from sv_cli.models.ssl_frontend import HiddenStates, SslEncoder, SslSettings
from sv_cli.settings.model import build_settings

Convolution = tuple[int, int, int]
CONVOLUTIONS: tuple[Convolution, ...] = ((512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2)
_VARIANCE_FLOOR = 1e-5


class WavLmSettings(SslSettings):
    """Sizes of a WavLM; the defaults are those of WavLM Base."""

    feat_dim: Literal[1] = Field(1, description="samples a frame")
    state_dim: int = Field(768, ge=1, description="size of a hidden state")
    num_layers: int = Field(12, ge=1, description="transformer layers")
    num_heads: int = Field(12, ge=1, description="heads of the attention")
    ffn_dim: int = Field(3072, ge=1, description="inner size of the feed-forward parts")
    convolutions: tuple[Convolution, ...] = Field(
        CONVOLUTIONS, min_length=1, description="channels, kernel and stride of each convolution"
    )
    conv_bias: bool = Field(False, description="biases in the convolutions")
    conv_norm: Literal["group", "layer"] = Field(
        "group", description="norm of the first convolution over time, or of each over channels"
    )
    norm_first: bool = Field(False, description="norms before attention and feed-forward parts")
    normalize_waveform: bool = Field(False, description="mean 0 and variance 1 of the samples")
    pos_kernel: int = Field(128, ge=1, description="kernel of the convolutional positions")
    pos_groups: int = Field(16, ge=1, description="groups of the convolutional positions")
    num_buckets: int = Field(320, ge=4, description="buckets of the relative positions")
    max_distance: int = Field(800, ge=2, description="distance from which all are in one bucket")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout of the transformer")
    repeat_last: bool = Field(
        False, description="repeat the last state up to one a stride of samples, as s3prl does"
    )


class WavLm(HiddenStates):
    """The convolutions and the transformer."""

    feat_dim = 1

    def __init__(self, settings: WavLmSettings) -> None:
        super().__init__()
        self.model = load_torchaudio("torchaudio.models").wavlm_model(
            extractor_mode=f"{settings.conv_norm}_norm",
            extractor_conv_layer_config=[*settings.convolutions],
            extractor_conv_bias=settings.conv_bias,
            encoder_embed_dim=settings.state_dim,
            encoder_projection_dropout=settings.dropout,
            encoder_pos_conv_kernel=settings.pos_kernel,
            encoder_pos_conv_groups=settings.pos_groups,
            encoder_num_layers=settings.num_layers,
            encoder_num_heads=settings.num_heads,
            encoder_num_buckets=settings.num_buckets,
            encoder_max_distance=settings.max_distance,
            encoder_attention_dropout=settings.dropout,
            encoder_ff_interm_features=settings.ffn_dim,
            encoder_ff_interm_dropout=0.0,
            encoder_dropout=settings.dropout,
            encoder_layer_norm_first=settings.norm_first,
            encoder_layer_drop=0.0,
            aux_num_out=None,
        )
        self.settings = settings
        self.state_dim = settings.state_dim
        self.num_states = settings.num_layers + 1
        self.stride = math.prod(stride for _, _, stride in settings.convolutions)

    def num_inputs(self, num_steps: int) -> int:
        """Return how many samples give `num_steps` steps."""
        count = num_steps
        for _, kernel, stride in reversed(self.settings.convolutions):
            count = (count - 1) * stride + kernel
        return count

    def forward(self, feats: Tensor) -> list[Tensor]:
        """Return the states: (batch, num_samples, 1) -> (batch, steps, state_dim) each."""
        waveforms = feats[..., 0]
        if self.settings.normalize_waveform:
            waveforms = normalize_waveforms(waveforms)
        maps, _ = self.model.feature_extractor(waveforms, None)
        states = self._transform(self.model.encoder.feature_projection(maps))
        if self.settings.repeat_last:
            num_steps = -(-waveforms.shape[1] // self.stride)
            states = [repeat_last(state, num_steps) for state in states]
        return states

    def _transform(self, x: Tensor) -> list[Tensor]:
        transformer, norm_first = self.model.encoder.transformer, self.settings.norm_first
        x = x + transformer.pos_conv_embed(x)
        if not norm_first:
            x = transformer.layer_norm(x)
        states = [transformer.dropout(x)]
        bias = None
        for layer in transformer.layers:
            x, bias = layer(states[-1], None, bias)
            states.append(x)
        if norm_first:
            states[-1] = transformer.layer_norm(x)
        return states


def normalize_waveforms(waveforms: Tensor) -> Tensor:
    """Return waveforms (batch, num_samples) of mean 0 and variance 1 each."""
    centred = waveforms - waveforms.mean(dim=1, keepdim=True)
    variance = centred.square().mean(dim=1, keepdim=True)
    return centred * torch.rsqrt(variance + _VARIANCE_FLOOR)


def repeat_last(state: Tensor, num_steps: int) -> Tensor:
    """Return a state (batch, steps, state_dim) continued by its last step."""
    missing = num_steps - state.shape[1]
    return torch.cat([state, state[:, -1:].expand(-1, missing, -1)], dim=1)


def _build(name: str, sizes: dict[str, Any], overrides: dict[str, Any]) -> SslEncoder:
    settings = build_settings(WavLmSettings, {**sizes, **overrides}, where=name)
    return SslEncoder(WavLm(settings), settings)


def wavlm_base(**overrides: Any) -> SslEncoder:
    """WavLM Base (94 M, 960 h of LibriSpeech) in front of ECAPA-TDNN."""
    return _build("wavlm_base", {}, overrides)


def wavlm_base_plus(**overrides: Any) -> SslEncoder:
    """WavLM Base+ (the same network, trained on 94 000 h) in front of ECAPA-TDNN."""
    return _build("wavlm_base_plus", {}, overrides)


def wavlm_large(**overrides: Any) -> SslEncoder:
    """WavLM Large (315 M, 94 000 h) in front of ECAPA-TDNN."""
    sizes = {
        "state_dim": 1024,
        "num_layers": 24,
        "num_heads": 16,
        "ffn_dim": 4096,
        "conv_norm": "layer",
        "norm_first": True,
        "normalize_waveform": True,
        "dropout": 0.0,
    }
    return _build("wavlm_large", sizes, overrides)
