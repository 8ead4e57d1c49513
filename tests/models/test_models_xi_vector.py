"""xi-vector: WeSpeaker's recorded embeddings and counts."""

import pytest
from golden_models import check_golden

from sv_cli.models import xi_vector


@pytest.mark.parametrize("width", ["c512", pytest.param("c1024", marks=pytest.mark.slow)])
def test_golden(width: str) -> None:
    encoder = getattr(xi_vector, f"xi_vector_ecapa_{width}")()
    check_golden(encoder, f"wenet-e2e_wespeaker-xi-vec-ecapa-{width}-192")


def test_xvec_size() -> None:
    encoder = xi_vector.xi_vector_xvec()
    assert sum(p.numel() for p in encoder.parameters()) == 4_615_792
    assert encoder.min_frames == 15
