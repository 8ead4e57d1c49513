"""ReDimNet2: published counts, recorded embeddings, keys of the layout, what its strides do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_models import TOLERANCE, features, fill_encoder, golden_difference, read_golden

from sv_cli.errors import SettingsError
from sv_cli.models import redimnet2
from sv_cli.models.registry import build_model

SIZES = [f"b{size}" for size in range(7)]
# Counts of the authors' code, B0 to B6.
COUNTS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [1_115_220, 2_161_488, 3_677_760, 4_181_576, 6_659_744, 8_959_272, 12_394_784]),
    (
        {"agg_gnorm": True},
        [1_127_316, 2_177_616, 3_697_920, 4_205_768, 6_692_000, 9_007_656, 12_459_296],
    ),
    (
        {"dual_agg": True},
        [1_133_364, 2_185_680, 3_708_000, 4_217_864, 6_708_128, 9_031_848, 12_491_552],
    ),
    (
        {"agg_gnorm": True, "dual_agg": True},
        [1_155_828, 2_215_632, 3_745_440, 4_262_792, 6_768_032, 9_121_704, 12_611_360],
    ),
]
TENSORS = [727, 725, 725, 739, 739, 741, 803]


def on_meta(name: str, **options: Any) -> redimnet2.ReDimNet2:
    with torch.device("meta"):
        return getattr(redimnet2, f"redimnet2_{name}")(**options)


def count(name: str, **options: Any) -> int:
    return sum(p.numel() for p in on_meta(name, **options).parameters())


@pytest.mark.parametrize(("options", "counts"), COUNTS, ids=["plain", "norm", "dual", "both"])
def test_parameter_counts(options: dict[str, Any], counts: list[int]) -> None:
    assert [count(size, **options) for size in SIZES] == counts


def test_counts_of_other_options() -> None:
    assert count("b0", return_2d_output=False) == 703_060
    assert count("b0", compress_tconvs=False) == 1_166_652
    assert count("b3", agg_gnorm=True, out_channels=224) == 4_508_488
    assert count("b6_wespeaker") == count("b6")


def test_numbers_of_tensors() -> None:
    assert [len(on_meta(size).state_dict()) for size in SIZES] == TENSORS
    assert len(on_meta("b3", agg_gnorm=True, out_channels=224).state_dict()) == 755
    assert len(on_meta("b6", agg_gnorm=True).state_dict()) == 817


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("models/PalabraAI_redimnet2-redimnet2-b0-192", {}),
        *(
            pytest.param(
                f"models/PalabraAI_redimnet2-redimnet2-{size}-192", {}, marks=pytest.mark.slow
            )
            for size in SIZES[1:]
        ),
        ("variants/PalabraAI_redimnet2-redimnet2-b0-gnorm-192", {"agg_gnorm": True}),
        (
            "variants/PalabraAI_redimnet2-redimnet2-b0-dual-gnorm-192",
            {"agg_gnorm": True, "dual_agg": True},
        ),
        pytest.param(
            "variants/PalabraAI_redimnet2-redimnet2-b3-vb2-192",
            {"agg_gnorm": True, "out_channels": 224},
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda v: v.rsplit("redimnet2-")[-1] if isinstance(v, str) else "",
)
def test_golden(shared: Path, name: str, options: dict[str, Any]) -> None:
    golden = read_golden(shared / "golden" / "redimnet2" / f"{name}.json.gz")
    encoder = build_model("redimnet2_" + golden["name"].split("-")[1], **options)
    assert sum(p.numel() for p in encoder.parameters()) == golden["parameters"]
    shapes = {key: list(value.shape) for key, value in encoder.state_dict().items()}
    assert shapes == golden["shapes"]
    fill_encoder(encoder)
    for case in golden["cases"]:
        case["largest"] = np.abs(case["embedding"]).max()
        assert max(golden_difference(encoder, case)) <= TOLERANCE, case["frames"]


def test_keys_of_b6() -> None:
    shapes = {key: tuple(value.shape) for key, value in on_meta("b6").state_dict().items()}
    assert shapes["backbone.stage0.0.w"] == (1, 1, 64 * 72, 1)
    assert shapes["backbone.fin_wght1d.w"] == (1, 7, 64 * 72, 1)
    assert shapes["backbone.stage5.2.weight"] == (256, 1, 2, 4)
    assert shapes["backbone.head.weight"] == (224, 512, 1, 1)
    assert shapes["bn.weight"] == (2 * 224 * 9,)
    assert shapes["linear.weight"] == (192, 2 * 224 * 9)


def test_keys_of_two_maps_a_stage() -> None:
    keys = on_meta("b0", dual_agg=True, agg_gnorm=True).state_dict().keys()
    for key in ("_pre.2.weight", "_1d.exp_dim_conv.bias", "_up_2d.1.weight", "_up_1d.1.bias"):
        assert f"backbone.stage3{key}" in keys
    assert not any(key.startswith("backbone.stage3.") for key in keys)


def test_odd_last_frames_are_left_out() -> None:
    encoder = fill_encoder(redimnet2.redimnet2_b0())
    feats = features(31, 72, 2, seed=4)
    with torch.inference_mode():
        assert torch.equal(encoder(feats), encoder(feats[:, :28]))
        assert encoder(feats[:, : encoder.min_frames]).isfinite().all()
    assert encoder.min_frames == 4


@pytest.mark.parametrize("out_channels", [5, None])
def test_a_grid_is_flattened_with_bins_fastest(out_channels: int | None) -> None:
    settings = {"feat_dim": 6, "channels": 2, "out_channels": out_channels}
    stages = [{"freq_stride": 2}]
    encoder = redimnet2.ReDimNet2(
        redimnet2.ReDimNet2Settings.model_validate(
            {**settings, "return_2d_output": True, "stages": stages}
        )
    ).eval()
    backbone = encoder.backbone
    seen: list[torch.Tensor] = []
    backbone.head.register_forward_hook(lambda _m, _i, out: seen.append(out))
    out = backbone(torch.randn(1, 1, 6, 4))
    assert seen[0].shape == (1, out_channels or 4, 3, 4)
    assert torch.equal(out[0, 2 * 3 + 1], seen[0][0, 2, 1])


def test_groups_that_do_not_divide_are_refused() -> None:
    assert on_meta("b0", agg_gnorm=36).backbone.stem_gnorm.num_groups == 36
    with pytest.raises(SettingsError, match="`agg_gnorm` 5 does not divide the 864 values"):
        on_meta("b0", agg_gnorm=5)
