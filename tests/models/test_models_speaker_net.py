"""speaker-net's networks: recorded embeddings, and its 16-head pooling by its definition."""

import pytest
import torch
from golden_models import check_golden, features, fill_encoder

from sv_cli.models import speaker_net
from sv_cli.models.repvgg import fuse_branches
from sv_cli.models.speaker_net import NUM_HEADS, HeadPooling


@pytest.mark.parametrize(
    "name",
    [
        "ecapa_c512",
        "resnet34_c32",
        pytest.param("ecapa_c1024", marks=pytest.mark.slow),
        pytest.param("resnet34_c64", marks=pytest.mark.slow),
        # Nearly one-hot attention over values of 1000: the recorded deviations hold rounding.
        pytest.param("repvgg_b1", marks=pytest.mark.slow),
    ],
)
def test_golden(name: str) -> None:
    encoder = getattr(speaker_net, f"speaker_net_{name}")()
    check_golden(encoder, f"matln_speaker-net-{name.replace('_', '-')}")


def test_smaller_ecapa_is_the_published_one() -> None:
    encoder = speaker_net.speaker_net_ecapa_c512(embedding_dim=192)
    assert sum(p.numel() for p in encoder.parameters()) == 6_190_720


def test_heads_by_definition() -> None:
    torch.manual_seed(3)
    pooling = HeadPooling(4 * NUM_HEADS)
    x = torch.randn(2, 2 * NUM_HEADS, 2, 7)
    flat = x.flatten(1, 2)
    means, stds = [], []
    for head in range(NUM_HEADS):
        part = flat[:, 4 * head : 4 * head + 4]
        weight = pooling.attention["last_affine"].affine.weight[head, :, 0]
        attention = torch.softmax(torch.einsum("c,bct->bt", weight, part), dim=-1).unsqueeze(1)
        mean = (attention * part).sum(-1)
        means.append(mean)
        stds.append(((attention * part.square()).sum(-1) - mean.square()).sqrt())
    expected = torch.cat([*means, *stds], dim=1)
    torch.testing.assert_close(pooling(x), expected, rtol=1e-4, atol=1e-5)


def test_deploy_form_of_repvgg() -> None:
    encoder = fill_encoder(speaker_net.speaker_net_repvgg_b1(channels=4, embedding_dim=8))
    fused = fuse_branches(encoder)
    feats = features(30, 80, 2, seed=2)
    with torch.inference_mode():
        expected, got = encoder.repvgg(feats[:, None]), fused.repvgg(feats[:, None])
    assert torch.allclose(got, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    deploy = speaker_net.speaker_net_repvgg_b1(channels=4, embedding_dim=8, deploy=True)
    deploy.load_state_dict(fused.state_dict())


def test_deploy_count() -> None:
    with torch.device("meta"):
        encoder = speaker_net.speaker_net_repvgg_b1(deploy=True)
    assert sum(p.numel() for p in encoder.parameters()) == 25_053_248
