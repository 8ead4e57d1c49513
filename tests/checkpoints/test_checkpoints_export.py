"""Export: the front-end of products equals the fast one, and onnxruntime gives the embeddings."""

import math

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sv_cli.audio.write import write_waveform
from sv_cli.checkpoints import onnx_graph
from sv_cli.checkpoints.export_frontend import exportable_frontend
from sv_cli.checkpoints.model_file import ModelFile, load_model, save_model
from sv_cli.checkpoints.onnx_file import load_onnx
from sv_cli.cli import app
from sv_cli.errors import CheckpointError
from sv_cli.features.frontend import Frontend
from sv_cli.features.settings import FRONTENDS, FrontendSettings
from sv_cli.models.registry import build_model

SIZES = {"hidden_dim": 32, "stats_dim": 48, "embedding_dim": 16}


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    weights = dict(build_model("xvector", **SIZES).state_dict())
    save_model(tmp_path / "model.pt", ModelFile("xvector", SIZES, FRONTENDS["wespeaker"], weights))
    return tmp_path / "model.pt"


def run(*words):
    return CliRunner().invoke(app, ["export", *map(str, words)])


@pytest.mark.parametrize("name", FRONTENDS)
def test_the_exported_front_end_is_the_front_end(name):
    noise = torch.Generator().manual_seed(0)
    waveforms = 0.1 * torch.randn(2, 16079, generator=noise)
    waveforms[1] = waveforms[1] * 0.01 + 0.2
    settings = FRONTENDS[name]
    expected = Frontend(settings).eval()(waveforms)
    found = exportable_frontend(settings)(waveforms)
    assert found.shape == expected.shape
    # Single precision shows in bins near zero beside a large offset; decibels are 4.3 times nepers.
    unit = 10 / math.log(10) if settings.mel_style == "speechbrain" else 1.0
    torch.testing.assert_close(found / unit, expected / unit, rtol=1e-4, atol=2e-3)


def test_other_front_ends_are_refused():
    with pytest.raises(CheckpointError, match="mirrored"):
        exportable_frontend(FrontendSettings(snip_edges=False))


def test_without_the_packages(model, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "PACKAGES", ("onnx_that_is_not_there",))
    result = run(model, tmp_path / "a.onnx")
    assert result.exit_code == 1
    assert "svtool[onnx]" in result.stderr
    assert not (tmp_path / "a.onnx").exists()


def test_a_graph_is_written_that_gives_the_embeddings(model, tmp_path):
    for name in onnx_graph.PACKAGES:
        pytest.importorskip(name)
    onnxruntime = pytest.importorskip("onnxruntime")
    draw = np.random.default_rng(1)
    audio = tmp_path / "a.wav"
    write_waveform(audio, (0.1 * draw.standard_normal(20000)).astype(np.float32), 16000)
    out = tmp_path / "a.onnx"
    refused = run(model, out, "--parity", audio, "--tolerance", "0")
    assert refused.exit_code == 1
    assert "more than the tolerance" in refused.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"model.pt", "a.wav"}
    result = run(model, out)
    assert result.exit_code == 0, result.stderr
    assert "seeded noise" in result.stderr
    session = onnxruntime.InferenceSession(str(out))
    loaded = load_model(model)
    kept = session.get_modelmeta().custom_metadata_map
    assert kept["model_hash"] == loaded.info.model_hash
    assert (kept["model"], kept["frontend"]) == ("xvector", "wespeaker")
    assert (kept["sample_rate"], kept["embedding_dim"]) == ("16000", "16")
    for batch, length in ((1, 9000), (3, 33333)):
        waveforms = (0.1 * draw.standard_normal((batch, length))).astype(np.float32)
        with torch.inference_mode():
            feats = Frontend(loaded.frontend).eval()(torch.from_numpy(waveforms))
            expected = loaded.encoder(feats).numpy()
        (found,) = session.run(None, {"waveform": waveforms})
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_an_output_is_not_overwritten(model, tmp_path):
    out = tmp_path / "a.onnx"
    out.touch()
    result = run(model, out)
    assert result.exit_code == 1
    assert "exists already" in result.stderr


@pytest.mark.parametrize("place", ["top", "inside"])
def test_a_graph_with_control_flow_is_refused_by_name(model, tmp_path, place):
    for name in onnx_graph.PACKAGES:
        pytest.importorskip(name)
    import onnx

    assert run(model, tmp_path / "a.onnx").exit_code == 0
    graph = onnx.load(tmp_path / "a.onnx")
    node = onnx.helper.make_node("If", ["go"], ["embedding"])
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["embedding.before"], ["out"])],
        "branch",
        [],
        [onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)],
    )
    for name in ("then_branch", "else_branch"):
        node.attribute.append(onnx.helper.make_attribute(name, branch))
    if place == "inside":
        node.op_type = "Own"
    for each in graph.graph.node:
        each.output[:] = ["embedding.before" if x == "embedding" else x for x in each.output]
    graph.graph.initializer.append(onnx.helper.make_tensor("go", onnx.TensorProto.BOOL, [], [True]))
    graph.graph.node.append(node)
    onnx.save(graph, tmp_path / "b.onnx")
    with pytest.raises(CheckpointError, match=r"operator `(If|Own)`: graphs with control flow"):
        load_onnx(tmp_path / "b.onnx")
