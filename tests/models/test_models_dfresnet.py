"""Gemini DF-ResNet: WeSpeaker's recorded embeddings and counts."""

import pytest
import torch
from golden_models import check_golden

from sv_cli.models import dfresnet

COUNTS = {60: 4_047_840, 114: 6_531_552, 183: 9_196_384, 237: 11_680_096}


@pytest.mark.parametrize("depth", COUNTS)
def test_parameter_counts(depth: int) -> None:
    with torch.device("meta"):
        encoder = getattr(dfresnet, f"dfresnet{depth}")()
    assert sum(p.numel() for p in encoder.parameters()) == COUNTS[depth]


@pytest.mark.parametrize(
    "depth",
    [60, pytest.param(114, marks=pytest.mark.slow), pytest.param(183, marks=pytest.mark.slow)],
)
def test_golden(depth: int) -> None:
    encoder = getattr(dfresnet, f"dfresnet{depth}")()
    check_golden(encoder, f"wenet-e2e_wespeaker-gemini-dfresnet{depth}-256")
