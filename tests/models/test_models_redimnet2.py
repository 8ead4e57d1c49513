"""ReDimNet2: published counts, keys of the layout, and what its strides do."""

import pytest
import torch
from golden_models import features, fill_encoder

from sv_cli.models import redimnet2

COUNTS = {
    "b0": 703_060,
    "b1": 1_254_992,
    "b2": 2_530_208,
    "b3": 2_364_712,
    "b4": 6_659_744,
    "b5": 7_900_456,
    "b6": 12_394_784,
}


@pytest.mark.parametrize("size", COUNTS)
def test_parameter_counts(size: str) -> None:
    with torch.device("meta"):
        encoder = getattr(redimnet2, f"redimnet2_{size}")()
    assert sum(p.numel() for p in encoder.parameters()) == COUNTS[size]


def test_keys_of_b6() -> None:
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in redimnet2.redimnet2_b6().state_dict().items()}
    assert len(shapes) == 803
    assert shapes["backbone.stage0.0.w"] == (1, 1, 64 * 72, 1)
    assert shapes["backbone.fin_wght1d.w"] == (1, 7, 64 * 72, 1)
    assert shapes["backbone.stage5.2.weight"] == (256, 1, 2, 4)
    assert shapes["backbone.head.weight"] == (224, 512, 1, 1)
    assert shapes["bn.weight"] == (2 * 224 * 9,)
    assert shapes["linear.weight"] == (192, 2 * 224 * 9)


def test_odd_last_frames_are_left_out() -> None:
    encoder = fill_encoder(redimnet2.redimnet2_b0())
    feats = features(31, 72, 2, seed=4)
    with torch.inference_mode():
        assert torch.equal(encoder(feats), encoder(feats[:, :28]))
        assert encoder(feats[:, : encoder.min_frames]).isfinite().all()


def test_grid_head_is_flattened_with_bins_fastest() -> None:
    stages = [{"freq_stride": 2}]
    encoder = redimnet2.ReDimNet2(
        redimnet2.ReDimNet2Settings.model_validate(
            {"feat_dim": 6, "channels": 2, "out_channels": 5, "out_grid": True, "stages": stages}
        )
    ).eval()
    backbone = encoder.backbone
    seen: list[torch.Tensor] = []
    backbone.head.register_forward_hook(lambda _m, _i, out: seen.append(out))
    out = backbone(torch.randn(1, 1, 6, 4))
    assert seen[0].shape == (1, 5, 3, 4)
    assert torch.equal(out[0, 2 * 3 + 1], seen[0][0, 2, 1])
