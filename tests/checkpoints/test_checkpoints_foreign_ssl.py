"""Self-supervised weights: the release, Hugging Face, WeSpeaker; states as recorded."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_files import fill_all, save, weights_of
from golden_models import fill
from ssl_sizes import skip_without_extras
from torch import Tensor

from sv_cli.checkpoints.foreign.conversion import Imported, Wanted, import_weights
from sv_cli.checkpoints.foreign.wespeaker_ssl import LORA_NOTE
from sv_cli.checkpoints.hub import PUBLISHED
from sv_cli.errors import CheckpointError
from sv_cli.features.frontend import Frontend
from sv_cli.models.lora import merge_lora
from sv_cli.models.registry import build_model

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "ssl.json").read_text())
NUM_SAMPLES = 4487
TOLERANCE = 1e-4
SIZES = {"state_dim": 32, "num_layers": 3, "num_heads": 4, "ffn_dim": 48}
ECAPA = {"channels": 16, "feat_dim": 32, "embedding_dim": 8}
S3PRL = "frontend.upstream.upstream.model."
# Hugging Face -> the release.
RELEASE = (
    (r"^masked_spec_embed", "mask_emb"),
    (r"(conv_layers\.\d+)\.conv\.", r"\1.0."),
    (r"^feature_projection\.projection", "post_extract_proj"),
    (r"^feature_projection\.layer_norm", "layer_norm"),
    (r"pos_conv_embed\.conv", "pos_conv.0"),
    (r"^(encoder\.layers\.\d+)\.layer_norm", r"\1.self_attn_layer_norm"),
    (r"feed_forward\.intermediate_dense", "fc1"),
    (r"feed_forward\.output_dense", "fc2"),
    (r"attention\.gru_rel_pos_linear", "self_attn.grep_linear"),
    (r"attention\.gru_rel_pos_const", "self_attn.grep_a"),
    (r"attention\.rel_attn_embed", "self_attn.relative_attention_bias"),
    (r"\.attention\.", ".self_attn."),
)


def of_release(key: str, *, norm: str) -> str:
    for pattern, theirs in RELEASE:
        key = re.sub(pattern, theirs, key)
    return re.sub(r"(conv_layers\.\d+)\.layer_norm", rf"\1.{norm}", key)


def published(name: str) -> dict[str, Tensor]:
    """Weights under the keys of Hugging Face, as recorded."""
    return fill_all(GOLDEN[name]["shapes"])


def released(name: str) -> dict[str, Tensor]:
    """The same weights under the keys of the release."""
    norm = "2.1" if name == "wavlm_large" else "2"
    return {of_release(key, norm=norm): value for key, value in published(name).items()}


def waveforms() -> np.ndarray:
    draw = np.random.Generator(np.random.PCG64(7))
    return (0.1 * draw.standard_normal((2, NUM_SAMPLES))).astype(np.float32)


def states_of(imported: Imported) -> tuple[Tensor, list[Tensor]]:
    """Features, and the hidden states of a model."""
    encoder = imported.model.build()
    with torch.inference_mode():
        feats = Frontend(imported.model.frontend).eval()(torch.from_numpy(waveforms()))
        return feats, encoder.ssl(feats)  # type: ignore[operator]


def assert_recorded(name: str, states: list[Tensor]) -> None:
    recorded = GOLDEN[name]["states"]
    assert len(states) == len(recorded)
    for state, values in zip(states, recorded, strict=True):
        wanted = torch.tensor(values)
        assert (state[1, ::3, :8] - wanted).abs().max() <= TOLERANCE * wanted.abs().max()


WAVLM_FILES: dict[str, Any] = {
    "hugging face": published,
    "with a prefix": lambda name: {
        **{f"wavlm.{key}": value for key, value in published(name).items()},
        "projector.weight": torch.zeros(2, 2),
    },
    "release": lambda name: {"cfg": {"encoder_layers": 3}, "model": released(name)},
    "half": lambda name: {key: value.half() for key, value in published(name).items()},
}


@pytest.mark.parametrize("name", ["wavlm_base", "wavlm_large"])
@pytest.mark.parametrize("kind", WAVLM_FILES)
def test_wavlm_has_the_states_of_transformers(name: str, kind: str, tmp_path: Path) -> None:
    imported = import_weights(save(tmp_path / "w.pt", WAVLM_FILES[kind](name)))
    assert imported.model.model == name
    assert imported.model.options.items() >= {**SIZES, "backend": "mean"}.items()
    assert sum(imported.dropped.values()) == 1 + (kind == "with a prefix")
    assert imported.embedding_dim == 32
    if kind != "half":
        assert_recorded(name, states_of(imported)[1])


def test_w2vbert_has_the_states_of_transformers(tmp_path: Path) -> None:
    skip_without_extras("w2vbert2_mfa")
    imported = import_weights(save(tmp_path / "w.pt", published("w2vbert2_mfa")))
    assert imported.project == "w2v-bert"
    assert imported.model.options["left_positions"] == 16
    _, states = states_of(imported)
    assert_recorded("w2vbert2_mfa", states)


def test_w2vbert_normalises_as_its_extractor() -> None:
    from sv_cli.features.settings import FRONTENDS
    from sv_cli.models.ssl_w2vbert import stack_frames

    feats = Frontend(FRONTENDS["w2vbert"]).eval()(torch.from_numpy(waveforms()))
    wanted = torch.tensor(GOLDEN["w2vbert2_mfa"]["input"])
    got = stack_frames(feats)
    assert got.shape == (2, 13, 160)
    assert (got[1, ::3, :8] - wanted).abs().max() <= TOLERANCE * got.abs().max()


def test_bare_network_gives_means_over_time_and_layers(tmp_path: Path) -> None:
    imported = import_weights(save(tmp_path / "w.pt", published("wavlm_base")))
    feats, states = states_of(imported)
    with torch.inference_mode():
        got = imported.model.build()(feats)
    torch.testing.assert_close(got, torch.stack(states).mean(dim=(0, 2)), rtol=1e-5, atol=1e-6)


def test_the_file_tells_one_base_from_the_other(tmp_path: Path) -> None:
    weights = {"model": released("wavlm_base")}
    assert import_weights(save(tmp_path / "WavLM-Base+.pt", weights)).model.model.endswith("plus")
    assert import_weights(save(tmp_path / "WavLM-Base.pt", weights)).model.model == "wavlm_base"
    wanted = Wanted(model="wavlm_base_plus")
    again = import_weights(tmp_path / "WavLM-Base.pt", wanted)
    assert again.model.model == "wavlm_base_plus"


def wespeaker_wavlm() -> dict[str, Tensor]:
    upstream = {S3PRL + key: value for key, value in released("wavlm_large").items()}
    return {
        **upstream,
        "frontend.featurizer.weights": torch.tensor([0.5, -0.5, 0.0, 1.0]),
        **weights_of("ecapa_glob_c512", **ECAPA),
        "projection.weight": torch.zeros(3, 8),
    }


def test_wespeaker_wavlm_is_the_sum_without_its_mean(tmp_path: Path) -> None:
    imported = import_weights(save(tmp_path / "avg_model.pt", wespeaker_wavlm()))
    options = imported.model.options
    assert (imported.project, imported.model.model) == ("wespeaker", "wavlm_large")
    assert options["backend_options"]["channels"] == 16
    assert options["backend_options"]["global_context"] and options["repeat_last"]
    feats, states = states_of(imported)
    assert states[0].shape[1] == -(-NUM_SAMPLES // 320)  # one a stride, as s3prl gives
    assert torch.equal(states[0][:, -1], states[0][:, 12])
    shares = torch.softmax(torch.tensor([0.5, -0.5, 0.0, 1.0]), dim=0)
    total = sum(share * state for share, state in zip(shares, states, strict=True))
    network = build_model("ecapa_glob_c512", **ECAPA).eval()
    network.load_state_dict(weights_of("ecapa_glob_c512", **ECAPA))
    with torch.inference_mode():
        wanted = network(total - total.mean(dim=1, keepdim=True))  # type: ignore[operator, union-attr]
        got = imported.model.build()(feats)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


CONFIG = """
model: ECAPA_TDNN_GLOB_c512
model_args: {embed_dim: 8, feat_dim: 32, pooling_func: ASTP}
dataset_args:
  frontend: s3prl
  cmvn_args: {norm_mean: MEAN, norm_var: false}
  s3prl_args: {multilayer_feature: LAYERS, upstream_args: {name: wavlm_large}}
"""


def test_configuration_of_wespeaker_is_heeded(tmp_path: Path) -> None:
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    path = save(tmp_path / "avg_model.pt", wespeaker_wavlm())
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.replace("MEAN", "false").replace("LAYERS", "true"))
    assert import_weights(path).model.options["mean_norm"] is False
    config.write_text(CONFIG.replace("MEAN", "true").replace("LAYERS", "false"))
    with pytest.raises(CheckpointError, match="only the sum of all layers"):
        import_weights(path)


def wespeaker_w2vbert(*, lora: bool) -> dict[str, Tensor]:
    plain = {k: v for k, v in published("w2vbert2_mfa").items() if k != "masked_spec_embed"}
    prefix, changed = "frontend.encoder.", "encoder.layers.1.self_attn.linear_q"
    if lora:
        prefix += "base_model.model."
        plain[f"{changed}.base_layer.weight"] = plain.pop(f"{changed}.weight")
        plain[f"{changed}.base_layer.bias"] = plain.pop(f"{changed}.bias")
        for side, shape in (("A", (2, 32)), ("B", (32, 2))):
            key = f"{changed}.lora_{side}.default.weight"
            plain[key] = torch.from_numpy(fill(key, shape))
    head = {
        **{
            f"adapter_layers.{n}.{part}": shape
            for n in range(4)
            for part, shape in {
                "0.weight": (8, 32), "0.bias": (8,), "1.weight": (8,), "1.bias": (8,),
                "3.weight": (8, 8), "3.bias": (8,),
            }.items()
        },
        "pooling.attention.0.weight": (8, 32, 1), "pooling.attention.0.bias": (8,),
        "pooling.attention.2.weight": (8,), "pooling.attention.2.bias": (8,),
        "pooling.attention.2.running_mean": (8,), "pooling.attention.2.running_var": (8,),
        "pooling.attention.3.weight": (32, 8, 1), "pooling.attention.3.bias": (32,),
        "bottleneck.weight": (8, 64), "bottleneck.bias": (8,),
    }  # fmt: skip
    return {**{prefix + key: value for key, value in plain.items()}, **fill_all(head)}


@pytest.mark.parametrize("lora", [False, True])
def test_wespeaker_w2vbert(lora: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    skip_without_extras("w2vbert2_mfa")
    path = save(tmp_path / "avg_model.pt", wespeaker_w2vbert(lora=lora))
    imported = import_weights(path)
    assert (imported.project, imported.model.model) == ("wespeaker", "w2vbert2_mfa")
    assert imported.embedding_dim == 8
    assert (LORA_NOTE in " ".join(capsys.readouterr().err.split())) is lora
    feats, states = states_of(imported)
    if not lora:
        assert_recorded("w2vbert2_mfa", states)
    with torch.inference_mode():
        assert imported.model.build()(feats).isfinite().all()


def test_lora_matrices_are_added() -> None:
    weights = {
        "q.weight": torch.eye(2),
        "q.lora_A.default.weight": torch.tensor([[1.0, 2.0]]),
        "q.lora_B.default.weight": torch.tensor([[3.0], [4.0]]),
    }
    merged = merge_lora(weights, scale=0.5)
    assert merged.keys() == {"q.weight"}
    assert torch.equal(merged["q.weight"], torch.tensor([[2.5, 3.0], [2.0, 5.0]]))


def change(name: str, **changes: Tensor | None) -> dict[str, Tensor]:
    weights = {**published(name), **{k.replace("__", "."): v for k, v in changes.items()}}
    return {key: value for key, value in weights.items() if value is not None}


BAD: dict[str, tuple[Any, str]] = {
    "a layer's part is missing": (
        lambda: change("wavlm_base", encoder__layers__1__attention__q_proj__weight=None),
        "missing",
    ),
    "a key too many": (
        lambda: change("wavlm_base", encoder__layers__1__more=torch.zeros(2)), "unexpected",
    ),
    "another shape": (
        lambda: change("wavlm_base", encoder__layer_norm__bias=torch.zeros(5)), "another shape",
    ),
    "another upstream": (
        lambda: {"frontend.upstream.upstream.model.encoder.x": torch.zeros(2),
                 **weights_of("ecapa_glob_c512", **ECAPA)}, "s3prl, no WavLM",
    ),
    "whisper": (
        lambda: {"frontend.encoder.blocks.0.attn.query.weight": torch.zeros(2),
                 **weights_of("ecapa_glob_c512", **ECAPA)}, "Whisper",
    ),
    "a part of the front-end without a place": (
        lambda: {**wespeaker_wavlm(), "frontend.more.weight": torch.zeros(2)}, "unexpected",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused(case: str, tmp_path: Path) -> None:
    make, words = BAD[case]
    with pytest.raises(CheckpointError, match=words):
        import_weights(save(tmp_path / "w.pt", make()))


def test_published_names() -> None:
    names = {row.model for row in PUBLISHED.values() if row.project in ("wavlm", "w2v-bert")}
    assert names == {"wavlm_base", "wavlm_base_plus", "wavlm_large", "w2vbert2_mfa"}
