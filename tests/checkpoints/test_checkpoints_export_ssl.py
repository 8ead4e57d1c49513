"""Learned front-ends as graphs: from samples to embeddings, any batch and length."""

from pathlib import Path

import pytest
from drawn_models import draw_weights
from ssl_sizes import TINY, skip_without_extras

from sv_cli.checkpoints import onnx_graph
from sv_cli.checkpoints.export import export_onnx
from sv_cli.checkpoints.model_file import ModelFile, save_model
from sv_cli.features.settings import FRONTENDS
from sv_cli.models.registry import MODELS, build_model


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_learned_front_ends_are_exported(name: str, tmp_path: Path) -> None:
    for package in onnx_graph.PACKAGES:
        pytest.importorskip(package)
    skip_without_extras(name)
    encoder = draw_weights(build_model(name, **TINY[name]))
    frontend = FRONTENDS[MODELS[name].frontend]
    model = ModelFile(name, TINY[name], frontend, dict(encoder.state_dict()))
    save_model(tmp_path / "model.pt", model)
    exported = export_onnx(tmp_path / "model.pt", tmp_path / "model.onnx", tolerance=1e-4)
    assert exported.difference <= 1e-4 and exported.num_waveforms >= 2
