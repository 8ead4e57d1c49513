"""CAM++: recorded embeddings of both projects, and the mask by its definition."""

import pytest
import torch
from golden_models import check_golden
from torch.nn import functional

from sv_cli.models.campplus import CamLayer, campplus, campplus_3dspeaker


def test_golden_wespeaker() -> None:
    check_golden(campplus(), "wenet-e2e_wespeaker-campplus-tstp-512")


@pytest.mark.parametrize("dim", [192, 512])
def test_golden_3dspeaker(dim: int) -> None:
    check_golden(campplus_3dspeaker(embedding_dim=dim), f"modelscope_3D-Speaker-campplus-{dim}")


@pytest.mark.parametrize("frames", [2, 99, 100, 101, 230])
def test_mask_is_that_of_every_frame(frames: int) -> None:
    torch.manual_seed(1)
    layer = CamLayer(6, 4, dilation=2)
    x = torch.randn(2, 6, frames)
    context = torch.empty_like(x)
    for start in range(0, frames, 100):
        part = x[..., start : start + 100]
        context[..., start : start + 100] = part.mean(-1, keepdim=True)
    context += x.mean(-1, keepdim=True)
    mask = torch.sigmoid(layer.linear2(functional.relu(layer.linear1(context))))
    torch.testing.assert_close(layer(x), layer.linear_local(x) * mask)


def test_saving_memory_changes_no_gradient() -> None:
    sizes = {"growth": 4, "bottleneck": 2, "channels": 8, "embedding_dim": 4}
    plain, saving = campplus(**sizes), campplus(**sizes, save_memory=True)
    saving.load_state_dict(plain.state_dict())
    feats = torch.randn(3, 20, 80)
    for encoder in (plain, saving):
        encoder.train()(feats).square().sum().backward()
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad, other.grad)


def test_constant_channels_keep_gradients_finite() -> None:
    encoder = campplus_3dspeaker(growth=4, bottleneck=2, channels=8, embedding_dim=4).train()
    encoder(torch.zeros(2, 8, 80)).sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)
