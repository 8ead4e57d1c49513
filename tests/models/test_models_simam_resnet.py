"""SimAM-ResNet: WeSpeaker's recorded embeddings, and SimAM by hand."""

import math

import pytest
import torch
from golden_models import check_golden

from sv_cli.models import simam_resnet
from sv_cli.models.simam_resnet import simam


@pytest.mark.parametrize("depth", [34, pytest.param(100, marks=pytest.mark.slow)])
def test_golden(depth: int) -> None:
    encoder = getattr(simam_resnet, f"simam_resnet{depth}")()
    check_golden(encoder, f"wenet-e2e_wespeaker-simam-resnet{depth}-asp-256")


def test_simam_by_hand() -> None:
    # mean 2, unbiased variance 2: each value is 1 away, so 1 / (4 * 2.0001) + 0.5
    weight = 1 / (1 + math.exp(-(1 / (4 * 2.0001) + 0.5)))
    got = simam(torch.tensor([[[[1.0, 3.0]]]]))
    torch.testing.assert_close(got, torch.tensor([[[[weight, 3 * weight]]]]))


def test_one_frame_is_enough() -> None:
    encoder = simam_resnet.simam_resnet34(channels=4, embedding_dim=8).eval()
    assert encoder.min_frames == 1
    assert encoder(torch.randn(2, 1, 80)).isfinite().all()
