"""Files of the ReDimNet authors: their configuration, their front-end, and the trainer's files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_files import fill_all, golden_models, save, weights_of
from torch import Tensor

from sv_cli.audio.read import read_waveform
from sv_cli.checkpoints.foreign.conversion import Imported, Wanted, import_weights
from sv_cli.checkpoints.foreign.redimnet_frontend import expected_buffers
from sv_cli.checkpoints.hub import PUBLISHED, find_published
from sv_cli.checkpoints.model_file import save_model
from sv_cli.errors import CheckpointError
from sv_cli.extraction.api import load_model
from sv_cli.extraction.settings import ExtractSettings
from sv_cli.features.frontend import Frontend
from sv_cli.features.settings import FRONTENDS
from sv_cli.models.registry import MODELS

# `model_config` of all released sizes; B0's.
COMMON: dict[str, Any] = {
    "F": 72, "block_1d_type": "conv+att", "block_2d_type": "basic_resnet", "causal": "none",
    "compress_tconvs": True, "emb_bn": False, "embed_dim": 192, "feat_type": "tf",
    "fm_weigthing_type": "NC", "global_context_att": True, "group_divisor": 1, "hop_length": 160,
    "pooling_func": "ASTP", "return_2d_output": True, "spec_in_channels": 1,
    "spec_params": {"do_preemph": True, "do_spec_aug": False, "norm_signal": True},
}  # fmt: skip
B0: dict[str, Any] = {
    **COMMON,
    "C": 12,
    "out_channels": 64,
    "stages_setup": [
        [[1, 1], 2, 2, [[3, 3]], 36], [[2, 1], 3, 1, [[3, 3]], 36], [[1, 2], 4, 1, [[3, 3]], 36],
        [[2, 1], 5, 1, [[3, 3]], 36], [[1, 2], 4, 1, [[3, 3]], 18], [[2, 1], 3, 1, [[3, 3]], 18],
    ],
}  # fmt: skip
# ReDimNet's B1: (frequency stride, blocks, expansion, kernels, reduction).
FIRST_B1: dict[str, Any] = {
    "F": 72, "C": 12, "block_1d_type": "conv+att", "block_2d_type": "convnext_like",
    "group_divisor": 8, "global_context_att": True, "hop_length": 240, "feat_type": "pt",
    "stages_setup": [
        (1, 2, 1, [(3, 3)], None), (2, 3, 1, [(3, 3)], None), (3, 4, 1, [(3, 3)], 12),
        (2, 5, 1, [(3, 3)], 12), (2, 3, 1, [(3, 3)], 8),
    ],
}  # fmt: skip


def buffers() -> dict[str, Tensor]:
    """TFMelBanks' constants, by the authors' formulas."""
    n, k = np.arange(400), np.arange(256)[:, None]
    window = 0.54 - 0.46 * np.cos(2 * np.pi * n / 399)
    mel = lambda f: 2595 * np.log10(1 + f / 700)  # noqa: E731
    points, bins = np.linspace(mel(20), mel(7600), 74), mel(np.linspace(0, 8000, 256))
    rise = (bins - points[:-2, None]) / (points[1:-1] - points[:-2])[:, None]
    fall = (points[2:, None] - bins) / (points[2:] - points[1:-1])[:, None]
    weights = np.maximum(0, np.minimum(rise, fall))
    tensors = {
        "1.flipped_filter": np.array([[[-0.97, 1.0]]]),
        "2.real_kernel_pt": (window * np.cos(2 * np.pi * k * n / 512))[:, None],
        "2.image_kernel_pt": (window * np.sin(2 * np.pi * k * n / 512))[:, None],
        "2.melbanks_pt": weights[..., None],
    }
    return {f"spec.torchfbank.{key}": torch.from_numpy(v).float() for key, v in tensors.items()}


def released(tmp_path: Path, config: dict[str, Any], weights: dict[str, Tensor]) -> Path:
    state = {**buffers(), **weights} if config.get("feat_type", "pt") == "tf" else weights
    return save(tmp_path / "b6-vox2-lm.pt", {"model_config": config, "state_dict": state})


def network_of(imported: Imported) -> tuple[str, dict[str, Any]]:
    return imported.model.model, dict(imported.model.options)


def test_a_released_file_from_the_waveform(shared: Path, tmp_path: Path) -> None:
    rows = json.loads((shared / "golden/redimnet2/e2e/redimnet2-visible.json").read_text())
    imported = import_weights(released(tmp_path, B0, weights_of("redimnet2_b0")))
    assert imported.project == "redimnet"
    assert network_of(imported) == ("redimnet2_b0", {})
    assert imported.model.frontend == FRONTENDS["tfmel"]
    assert imported.dropped == {"spec": 4}
    rows = [row for row in rows if row["name"] == "redimnet2-b0-192"]
    check_rows(shared, imported, rows)
    save_model(tmp_path / "b0.pt", imported.model)
    model = load_model(tmp_path / "b0.pt", settings=ExtractSettings(precision="fp32"))
    for row in rows:
        theirs = np.array(row["embedding"])
        ours = model.embed_file(shared / "golden" / "kaldi" / "wav" / f"{row['utt']}.wav")
        assert np.abs(ours - theirs).max() <= 5e-5 * np.abs(theirs).max()


@pytest.mark.slow
@pytest.mark.parametrize("size", ["b3", "b6"])
def test_larger_files_from_the_waveform(shared: Path, tmp_path: Path, size: str) -> None:
    rows = json.loads((shared / "golden/redimnet2/e2e/redimnet2-visible.json").read_text())
    record = f"PalabraAI_redimnet2-redimnet2-{size}-192.json.gz"
    golden = golden_models.read_golden(shared / "golden/redimnet2/models" / record)
    path = released(tmp_path, golden["kwargs"], fill_all(golden["shapes"]))
    imported = import_weights(path)
    assert network_of(imported) == (f"redimnet2_{size}", {})
    check_rows(shared, imported, [row for row in rows if row["name"] == f"redimnet2-{size}-192"])


def check_rows(shared: Path, imported: Imported, rows: list[dict[str, Any]]) -> None:
    assert len(rows) == 2
    encoder, frontend = imported.model.build(), Frontend(imported.model.frontend).eval()
    for row in rows:
        wav = shared / "golden" / "kaldi" / "wav" / f"{row['utt']}.wav"
        samples, _ = read_waveform(str(wav))
        with torch.inference_mode():
            ours = encoder(frontend(torch.from_numpy(samples)[None]))[0].numpy()
        theirs = np.array(row["embedding"])
        assert np.abs(ours - theirs).max() <= 5e-5 * np.abs(theirs).max()


@pytest.mark.parametrize(
    "options",
    [
        {"agg_gnorm": True},
        {"agg_gnorm": 36},
        {"dual_agg": True},
        {"agg_gnorm": True, "dual_agg": True},
        {"out_channels": 32},
        {"out_channels": None},
        {"out_channels": None, "return_2d_output": False},
        {"return_2d_output": False},
        {"compress_tconvs": False},
    ],
    ids=str,
)
def test_the_configuration_is_obeyed(tmp_path: Path, options: dict[str, Any]) -> None:
    """Not the name of the file, which says B6."""
    weights = weights_of("redimnet2_b0", **options)
    imported = import_weights(released(tmp_path, {**B0, **options}, weights))
    assert network_of(imported) == ("redimnet2_b0", options)


def test_absent_options_have_the_authors_defaults(tmp_path: Path) -> None:
    config = {
        key: value for key, value in COMMON.items() if key in ("causal", "feat_type", "spec_params")
    }
    options = {"return_2d_output": False}
    imported = import_weights(released(tmp_path, config, weights_of("redimnet2_b3", **options)))
    assert network_of(imported) == ("redimnet2_b3", options)
    del config["spec_params"]
    imported = import_weights(released(tmp_path, config, weights_of("redimnet2_b3", **options)))
    assert imported.model.frontend.signal_norm is False
    assert imported.model.frontend.preemphasis == 0.97


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ffn": 2}, "model_config: option `ffn` \\(2\\) is not supported"),
        ({"block_1d_type": "att-rope"}, "`block_1d_type` is 'att-rope', only 'conv\\+att'"),
        ({"block_2d_type": "convnext_like"}, "`block_2d_type` is 'convnext_like'"),
        ({"causal": "full"}, "`causal` is 'full', only 'none'"),
        ({"pad_right_samples": 80}, "`pad_right_samples` is 80"),
        ({"before_pool_offset": 2}, "`before_pool_offset` is 2"),
        ({"pooling_func": "TSTP"}, "`pooling_func` is 'TSTP'"),
        ({"feat_type": "pt_stft"}, "`feat_type` 'pt_stft' is not supported"),
        ({"spec_params": {"n_fft": 1024}}, "`spec_params.n_fft` is 1024, only 512"),
        ({"spec_params": {"power": 1}}, "`spec_params.power` \\(1\\) is not supported"),
        ({"feat_type": ["tf"]}, r"`feat_type` \['tf'\] is not supported"),
        ({"hop_length": "x"}, "`hop_length` is 'x'"),
        ({"spec_params": {"f_min": "x"}}, "`low_freq`: .* got 'x'"),
        ({"C": "x"}, "`channels`: .* got 'x'"),
        ({"stages_setup": [[1, 2]]}, "`stages_setup` has the stage \\[1, 2\\]"),
        ({"agg_gnorm": True}, "weights do not fit: .* missing"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_what_is_not_supported_is_named(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    path = released(tmp_path, {**B0, **changes}, weights_of("redimnet2_b0"))
    with pytest.raises(CheckpointError, match=words) as caught:
        import_weights(path)
    assert str(path) in caught.value.message and "\n" not in caught.value.message


@pytest.mark.parametrize("prefix", ["backbone.", "module.backbone."])
def test_a_checkpoint_of_the_trainer(tmp_path: Path, prefix: str) -> None:
    options = {"agg_gnorm": True, "out_channels": 32}
    weights = {**buffers(), **weights_of("redimnet2_b0", **options)}
    outer = prefix.removesuffix("backbone.")
    state = {f"{prefix}{key}": value for key, value in weights.items()}
    state |= {f"{outer}projection.weight": torch.ones(7, 192)}
    state |= {f"{outer}projection.bias": torch.zeros(1, 1)}
    imported = import_weights(save(tmp_path / "model_120.pt", state))
    assert (imported.project, network_of(imported)) == ("redimnet", ("redimnet2_b0", options))
    assert imported.dropped == {"spec": 4}
    assert {key: value.shape for key, value in imported.model.head.items()} == {
        "weight": (7, 192),
        "bias": (1, 1),
    }
    assert imported.model.frontend == FRONTENDS["tfmel"]


def test_sizes_of_a_flat_state_dict_are_found_by_shapes(tmp_path: Path) -> None:
    stages = [{"blocks": 1, "reduction": 8}, {"freq_stride": 2, "time_stride": 2, "expansion": 1.5}]
    options = {"channels": 8, "dual_agg": True, "out_channels": None, "stages": stages}
    weights = weights_of("redimnet2_b3", **options)
    imported = import_weights(save(tmp_path / "w.pt", weights), Wanted("redimnet"))
    encoder = imported.model.build()
    assert {k: v.shape for k, v in encoder.state_dict().items()} == {
        key: value.shape for key, value in weights.items()
    }
    assert imported.model.options["dual_agg"] is True


@pytest.mark.parametrize("key", list(buffers()))
def test_buffers_that_differ_are_named(tmp_path: Path, key: str) -> None:
    weights = {**weights_of("redimnet2_b0"), key: buffers()[key] + 0.001}
    path = released(tmp_path, B0, weights)
    with pytest.raises(CheckpointError, match=f"`{key}` differs from the front-end's by 0.001"):
        import_weights(path)
    assert import_weights(path, Wanted(frontend="tfmel")).dropped == {"spec": 4}


@pytest.mark.parametrize("mistake", ["periodic", "spacing"])
def test_buffers_of_other_front_ends_are_named(tmp_path: Path, mistake: str) -> None:
    made = buffers()
    if mistake == "periodic":
        key = "spec.torchfbank.2.real_kernel_pt"
        made[key] = expected_real_kernel(period=400)
    else:
        key = "spec.torchfbank.2.melbanks_pt"
        made[key] = made[key].roll(1, dims=1)
    path = released(tmp_path, B0, {**weights_of("redimnet2_b0"), **made})
    with pytest.raises(CheckpointError, match=f"`{key}` differs"):
        import_weights(path)
    other = {**weights_of("redimnet2_b0"), "spec.spectrogram.2.x": torch.zeros(2)}
    with pytest.raises(CheckpointError, match=r"`spec\.spectrogram\.2\.x` is no part"):
        import_weights(released(tmp_path, B0, other))


def expected_real_kernel(period: int) -> Tensor:
    n, k = torch.arange(400).double(), torch.arange(256)[:, None].double()
    window = 0.54 - 0.46 * torch.cos(2 * np.pi * n / period)
    return (window * torch.cos(2 * np.pi * k * n / 512))[:, None].float()


def newer_layout(weights: dict[str, Tensor], num_stages: int) -> dict[str, Tensor]:
    """Keys of ReDimNet's later code: the mixing weights are in the stages."""
    renamed = {}
    for key, value in weights.items():
        parts = key.split(".")
        if parts[1] == "inputs_weights":
            last = int(parts[2]) == num_stages
            key = "backbone.fin_wght1d.w" if last else f"backbone.stage{parts[2]}.0.w"
        elif parts[0] == "backbone" and parts[1].startswith("stage"):
            key = ".".join([*parts[:2], str(int(parts[2]) + 2), *parts[3:]])
        renamed[key] = value
    return renamed


@pytest.mark.parametrize("layout", ["first", "newer"])
def test_a_file_of_the_first_redimnet(tmp_path: Path, layout: str) -> None:
    weights = weights_of("redimnet_b1", pooled_norm=True)
    state = newer_layout(weights, 5) if layout == "newer" else weights
    values = {"num_mel_bins": 72, "frame_shift_ms": 15.0}
    frontend = FRONTENDS["taoruijie"].model_copy(update=values)
    state = {**state, **expected_buffers(frontend)}
    imported = import_weights(released(tmp_path, FIRST_B1, state))
    assert network_of(imported) == ("redimnet_b1", {"pooled_norm": True})
    assert imported.model.frontend == frontend and frontend.frame_shift == 240
    assert imported.dropped == {"spec": 3}
    for key, value in imported.model.weights.items():
        assert torch.equal(value, weights[key]), key


def test_the_first_redimnet_without_configuration(tmp_path: Path) -> None:
    weights = weights_of("redimnet_b1", pooled_norm=True)
    imported = import_weights(save(tmp_path / "b1.pt", weights))
    assert network_of(imported) == ("redimnet_b1", {"pooled_norm": True})
    assert imported.model.frontend.kind == "mel" and imported.model.frontend.feat_dim == 72


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"block_1d_type": "att"}, "`block_1d_type` is 'att'"),
        ({"out_channels": 512}, "`out_channels` is 512, only None"),
        ({"agg_gnorm": True}, "option `agg_gnorm`"),
        ({"spec_params": {"spec_norm": "mvn"}}, "`spec_params.spec_norm` is 'mvn', only 'mn'"),
        ({"block_2d_type": "convnext_like_relu"}, "`block_2d_type` 'convnext_like_relu'"),
        ({"feat_type": "tf_spec"}, "`feat_type` 'tf_spec'"),
        ({"stages_setup": None}, "`stages_setup` has the stage None"),
    ],
    ids=str,
)
def test_what_the_first_redimnet_does_not_support(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    weights = weights_of("redimnet_b1", pooled_norm=True)
    with pytest.raises(CheckpointError, match=words):
        import_weights(released(tmp_path, {**FIRST_B1, **changes}, weights))
    short = {key: value for key, value in FIRST_B1.items() if key != "block_2d_type"}
    with pytest.raises(CheckpointError, match="no `block_2d_type`"):
        import_weights(released(tmp_path, short, weights))


@pytest.mark.slow
def test_wespeaker_s_b6_and_its_front_end(tmp_path: Path) -> None:
    state = weights_of("redimnet2_b6")
    state |= {f"frontend.{key}": value for key, value in buffers().items()}
    path = save(tmp_path / "avg_model.pt", state)
    imported = import_weights(path)
    assert (imported.project, network_of(imported)) == (
        "wespeaker", ("redimnet2_b6_wespeaker", {}),
    )  # fmt: skip
    assert imported.model.frontend == FRONTENDS["tfmel"]
    assert imported.dropped == {"frontend": 4}
    pytest.importorskip("yaml")
    config = tmp_path / "config.yaml"
    model = "model: ReDimNet2B6\nmodel_args: {feat_dim: 72, embed_dim: 192}\n"
    norms = "{n_mels: 72, hop_length: 160, norm_signal: true, do_preemph: true, eps: 1.0e-8}"
    config.write_text(f"{model}dataset_args: {{frontend: tfmel, cmvn: false, tfmel_args: {norms}}}")
    assert import_weights(path).model.frontend == FRONTENDS["tfmel"]
    config.write_text(f"{model}dataset_args: {{frontend: tfmel, tfmel_args: {{n_mels: 72}}}}\n")
    assert not import_weights(path).model.frontend.signal_norm
    save(path, weights_of("redimnet2_b6"))
    config.write_text(f"{model}dataset_args: {{fbank_args: {{num_mel_bins: 72}}}}\n")
    assert import_weights(path).model.frontend == FRONTENDS["wespeaker-72"]


def test_a_bare_state_dict_of_b6_is_the_authors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported = import_weights(save(tmp_path / "weights.pt", weights_of("redimnet2_b6")))
    assert imported.project == "redimnet"
    assert "--project wespeaker" in capsys.readouterr().err


def test_names_of_released_files() -> None:
    rows = [row for row in PUBLISHED.values() if row.host == "github-release"]
    assert len(rows) == 21
    row = find_published("redimnet2/b6-vb2+vox2_v0-dis")
    assert row.model == "redimnet2_b6" and row.project == "redimnet"
    assert row.url(row.files[0]) == (
        "https://github.com/PalabraAI/redimnet2/releases/download/v1.0.0/b6-vb2+vox2_v0-dis.pt"
    )
    assert row.page == "https://github.com/PalabraAI/redimnet2/releases/tag/v1.0.0"
    assert {row.model for row in rows} == {f"redimnet2_b{size}" for size in range(7)} <= set(MODELS)
