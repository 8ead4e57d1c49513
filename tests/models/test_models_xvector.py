"""x-vector: recorded embeddings of both projects."""

import pytest
import torch
from golden_models import check_golden

from sv_cli.errors import ShapeError
from sv_cli.models.xvector import xvector, xvector_3dspeaker


def test_golden_wespeaker() -> None:
    check_golden(xvector(), "wenet-e2e_wespeaker-xvec-tstp-512")


def test_golden_3dspeaker() -> None:
    check_golden(xvector_3dspeaker(), "modelscope_3D-Speaker-xvector-512")


def test_sixteen_frames_are_needed() -> None:
    encoder = xvector(hidden_dim=8, stats_dim=8, embedding_dim=4).eval()
    assert encoder.min_frames == 16
    assert encoder(torch.randn(1, 16, 80)).isfinite().all()
    with pytest.raises(ShapeError):
        encoder(torch.randn(1, 15, 80))
