"""TaoRuijie's ECAPA-TDNN: recorded embeddings."""

import pytest
import torch
from golden_models import check_golden, features, fill_encoder

from sv_cli.models import ecapa_taoruijie


@pytest.mark.parametrize("width", ["c512", pytest.param("c1024", marks=pytest.mark.slow)])
def test_golden(width: str) -> None:
    encoder = getattr(ecapa_taoruijie, f"ecapa_taoruijie_{width}")()
    check_golden(encoder, f"TaoRuijie_ECAPA-TDNN-ecapa-{width}")


def test_mean_of_features_does_not_matter() -> None:
    encoder = fill_encoder(ecapa_taoruijie.ecapa_taoruijie_c512(channels=16, embedding_dim=8))
    feats = features(20, 80, 2, seed=1)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(feats), encoder(feats + 3.0), rtol=1e-4, atol=1e-4)
