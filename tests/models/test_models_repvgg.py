"""RepVGG: WeSpeaker's recorded embeddings and counts, and the deploy form."""

import pytest
import torch
from golden_models import check_golden, features, fill_encoder

from sv_cli.models import repvgg

COUNTS = {
    "tiny_a0": 6_833_792,
    "tiny_rsbb_a0": 11_233_152,
    "a0": 14_380_960,
    "rsbb_a0": 20_623_648,
    "a1": 19_363_968,
    "a2": 34_009_536,
    "rsbb_a2": 55_415_744,
    "b0": 21_089_664,
    "rsbb_b0": 32_690_048,
    "b1": 65_850_752,
    "b1g2": 54_218_112,
    "b1g4": 48_401_792,
    "b2": 99_567_552,
    "b2g2": 81_391_552,
    "b2g4": 72_303_552,
    "b3": 133_630_464,
    "b3g2": 107_457_024,
    "b3g4": 94_370_304,
    "d2se": 138_356_400,
}
DEPLOY_COUNTS = {"tiny_a0": 6_264_352, "a0": 13_581_000, "b1": 60_265_000}
TINY = {"blocks": (1, 2, 1, 1), "widths": (0.25, 0.125, 0.0625, 0.0625), "embedding_dim": 16}


def count(name: str, **options: object) -> int:
    with torch.device("meta"):
        encoder = getattr(repvgg, f"repvgg_{name}")(**options)
    return sum(p.numel() for p in encoder.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name: str) -> None:
    assert count(name) == COUNTS[name]


@pytest.mark.parametrize("name", DEPLOY_COUNTS)
def test_deploy_parameter_counts(name: str) -> None:
    published = DEPLOY_COUNTS[name]
    assert round(count(name, deploy=True) / 1000) == round(published / 1000)


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        ("tiny_a0", 256),
        pytest.param("tiny_a0", 512, marks=pytest.mark.slow),
        pytest.param("b1", 256, marks=pytest.mark.slow),
    ],
)
def test_golden(name: str, dim: int) -> None:
    encoder = getattr(repvgg, f"repvgg_{name}")(embedding_dim=dim)
    check_golden(encoder, f"wenet-e2e_wespeaker-repvgg-{name.replace('_', '-')}-{dim}")


@pytest.mark.parametrize(
    "options", [{}, {"dilated": True}, {"groups": 2}, {"groups": 4, "squeeze": True}]
)
def test_deploy_form_gives_the_same_embeddings(options: dict[str, object]) -> None:
    encoder = fill_encoder(repvgg.repvgg_tiny_a0(**TINY, **options))
    fused = repvgg.fuse_branches(encoder)
    feats = features(40, 80, 2, seed=5)
    with torch.inference_mode():
        expected, got = encoder(feats), fused(feats)
    assert torch.allclose(got, expected, rtol=0, atol=2e-6 * float(expected.abs().max()))
    deploy = repvgg.repvgg_tiny_a0(**TINY, **options, deploy=True)
    deploy.load_state_dict(fused.state_dict())


def test_full_network_keeps_its_embeddings_when_fused() -> None:
    encoder = fill_encoder(repvgg.repvgg_tiny_a0())
    fused = repvgg.fuse_branches(encoder)
    assert sum(p.numel() for p in fused.parameters()) == 6_264_352
    assert len(fused.state_dict()) == 70
    feats = features(50, 80, 2, seed=6)
    with torch.inference_mode():
        expected, got = encoder(feats), fused(feats)
    assert torch.allclose(got, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
