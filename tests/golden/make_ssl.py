"""Record hidden states of small WavLM and w2v-BERT networks of `transformers`.

    python tests/golden/make_ssl.py

Needs the extra `ssl`. Weights are a function of key and shape (`tests/models/golden_models.py`),
keys are those of the published files; waveforms of the network with norms first are normalised
as the release does it (mean 0, variance 1 with 1e-5 added).
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

TESTS = Path(__file__).parent.parent
sys.path += [str(TESTS), str(TESTS / "models")]
from golden_models import fill  # noqa: E402

from sv_cli.audio.torchaudio_door import load_torchaudio  # noqa: E402

OUT = Path(__file__).parent / "ssl.json"
NUM_SAMPLES = 4487  # 26 frames of filter banks: two a step, none left over
WAVLM = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
    "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
    "num_buckets": 32,
}  # fmt: skip
W2VBERT = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
    "conv_depthwise_kernel_size": 7, "left_max_position_embeddings": 16,
    "position_embeddings_type": "relative_key",
}  # fmt: skip


def waveforms() -> np.ndarray:
    draw = np.random.Generator(np.random.PCG64(7))
    return (0.1 * draw.standard_normal((2, NUM_SAMPLES))).astype(np.float32)


def published_key(key: str) -> str:
    for number, name in enumerate(("weight_g", "weight_v")):
        key = key.replace(f"parametrizations.weight.original{number}", name)
    return key


def record(model: nn.Module, inputs: torch.Tensor) -> dict[str, Any]:
    """Fill the network; return its keys and shapes, and a part of its states."""
    shapes = {}
    for key, value in model.state_dict().items():
        shapes[published_key(key)] = list(value.shape)
        value.copy_(torch.from_numpy(fill(published_key(key), tuple(value.shape))))
    with torch.inference_mode():
        out = model.eval()(inputs, output_hidden_states=True)
    states = [*out.hidden_states[:-1], out.last_hidden_state]  # the last one after its norm
    return {"shapes": shapes, "states": [part(state) for state in states]}


def part(state: torch.Tensor) -> list[list[float]]:
    """Every third step of the second utterance, eight values of each."""
    return [[round(float(x), 7) for x in row] for row in state[1, ::3, :8]]


def main() -> None:
    load_torchaudio()
    import transformers
    from transformers import (
        SeamlessM4TFeatureExtractor,
        Wav2Vec2BertConfig,
        Wav2Vec2BertModel,
        WavLMConfig,
        WavLMModel,
    )

    plain = torch.from_numpy(waveforms())
    normalized = torch.nn.functional.layer_norm(plain, plain.shape[1:])
    first = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
    extractor = SeamlessM4TFeatureExtractor(padding_value=1)
    feats = extractor(list(waveforms()), sampling_rate=16000, return_tensors="pt").input_features
    content = {
        "made_by": f"tests/golden/make_ssl.py with transformers {transformers.__version__}",
        "wavlm_base": record(WavLMModel(WavLMConfig(**WAVLM)), plain),
        "wavlm_large": record(WavLMModel(WavLMConfig(**WAVLM, **first)), normalized),
        "w2vbert2_mfa": {
            **record(Wav2Vec2BertModel(Wav2Vec2BertConfig(**W2VBERT)), feats),
            "input": part(feats),
        },
    }
    OUT.write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
