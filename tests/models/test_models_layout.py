"""Memory layout of the maps, and what a listing of the zoo imports."""

import subprocess
import sys

import pytest
import torch

from sv_cli.models.registry import build_model


@pytest.mark.parametrize("name", ["eres2net_base", "res2net34_base", "resnet18"])
@pytest.mark.parametrize("bf16", [False, True])
def test_channels_last_survives_to_the_last_stage(name: str, bf16: bool) -> None:
    encoder = build_model(name).eval()
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    layouts: dict[str, bool] = {}

    def note(stage: str) -> None:
        def hook(_module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
            layouts[stage] = output.is_contiguous(memory_format=torch.channels_last)

        getattr(encoder, stage).register_forward_hook(hook)

    for stage in ("layer1", "layer2", "layer3", "layer4"):
        note(stage)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        encoder(torch.randn(2, 64, 80))
    assert all(layouts.values()) and len(layouts) == 4


def test_listings_do_not_import_torch() -> None:
    code = (
        "import sys, sv_cli.models.registry, sv_cli.losses.registry, sv_cli.losses.settings, "
        "sv_cli.losses.margin_schedule; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
