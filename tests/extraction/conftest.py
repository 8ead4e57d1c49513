import numpy as np
import pytest
import torch

from sv_cli.models.registry import build_model

SMALL = {
    "resnet34": {"m_channels": 4, "num_blocks": (1, 1, 1, 1), "embedding_dim": 16},
    "eres2net_base": {"m_channels": 8, "num_blocks": (1, 1, 1, 1), "embedding_dim": 16},
    "ecapa_glob_c512": {"channels": 32, "embedding_dim": 16},
    "ecapa_c512": {"channels": 32, "embedding_dim": 16},
}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def make_encoder():
    """Build a small network whose batch norms do something."""

    def make(name):
        torch.manual_seed(0)
        encoder = build_model(name, **SMALL[name])
        for module in encoder.modules():
            if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
                if module.affine:
                    torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                    torch.nn.init.normal_(module.bias, std=0.1)
        return encoder.eval()

    return make


@pytest.fixture
def waveforms():
    """Noises of several lengths, some of equal numbers of frames."""
    draw = np.random.default_rng(0)
    lengths = (16000, 12345, 16000, 16079, 30000, 12345)
    return [(0.1 * draw.standard_normal(n)).astype(np.float32) for n in lengths]
