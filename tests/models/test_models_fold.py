import pytest
import torch
from golden_models import features, fill_encoder

from sv_cli.models.fold import fold_norms
from sv_cli.models.registry import build_model


@pytest.mark.parametrize(("name", "left"), [("eres2net_base", 0), ("resnet18", 0)])
def test_all_norms_of_the_image_networks_fold(name: str, left: int) -> None:
    encoder = fill_encoder(build_model(name))
    feats = features(120, 80, 2, 4)
    with torch.inference_mode():
        expected = encoder(feats)
        assert fold_norms(encoder) > 10
        got = encoder(feats)
    norms = [m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == left
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_norms_after_a_relu_stay() -> None:
    encoder = build_model("ecapa_c512").eval()
    assert fold_norms(encoder) == 0


def test_not_while_training() -> None:
    with pytest.raises(ValueError, match="eval mode"):
        fold_norms(build_model("resnet18"))
