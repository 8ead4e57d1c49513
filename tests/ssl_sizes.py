"""Self-supervised networks of a few thousand weights, with all parts of the published ones."""

from importlib.util import find_spec
from typing import Any

import pytest

from sv_cli.models.registry import MODELS

_BACKEND = {"backend_options": {"channels": 16}, "embedding_dim": 8}
_WAVLM: dict[str, Any] = {
    "state_dim": 32,
    "num_layers": 2,
    "num_heads": 4,
    "ffn_dim": 48,
    "convolutions": [[16, 10, 5], *[[16, 3, 2]] * 4, *[[16, 2, 2]] * 2],
    "pos_kernel": 16,
    "pos_groups": 4,
    "num_buckets": 32,
    "max_distance": 80,
    **_BACKEND,
}
TINY: dict[str, dict[str, Any]] = {
    "wavlm_base": _WAVLM,
    "wavlm_large": _WAVLM,
    "w2vbert2_mfa": {
        "state_dim": 32,
        "num_layers": 2,
        "num_heads": 4,
        "ffn_dim": 48,
        "conv_kernel": 7,
        "left_positions": 16,
        "backend_options": {"adapter_dim": 8},
        "embedding_dim": 8,
    },
}
SAMPLES_A_STEP = 320


def skip_without_extras(name: str) -> None:
    """Skip a test of a network whose package is not installed."""
    if MODELS[name].module == "ssl_w2vbert" and find_spec("transformers") is None:
        pytest.skip("w2v-BERT needs transformers (extra `ssl`)")
