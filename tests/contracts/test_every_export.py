"""Every family leaves as an ONNX graph and as compiled code that give the network's embeddings.

By default two small networks; `-m slow` takes one of each family and project, and every pooling.
"""

import warnings
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import torch
from drawn_models import draw_weights, of_every_family

from sv_cli.checkpoints.export import export_onnx
from sv_cli.checkpoints.model_file import LoadedModel, ModelFile, load_model, save_model
from sv_cli.checkpoints.onnx_file import load_onnx
from sv_cli.checkpoints.onnx_graph import EMBEDDING, PACKAGES, WAVEFORM, open_session
from sv_cli.extraction.extractor import Extractor
from sv_cli.extraction.settings import ExtractSettings
from sv_cli.features.frontend import Frontend
from sv_cli.features.settings import find_frontend
from sv_cli.models.pooling import POOLINGS
from sv_cli.models.registry import MODELS, build_model

# Largest difference, relative to the largest value of the embedding: sums in another order.
PARITY = 2e-5
# With these weights every sum of its 28 blocks of three branches loses more, in any order.
OTHER_PARITY = {"speaker_net_repvgg_b1": 3e-4}
QUICK = ("xvector_3dspeaker", "resnet18")
SMALL_XVECTOR = {"hidden_dim": 32, "stats_dim": 48, "embedding_dim": 16}
EVERY = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in of_every_family()
]


def save(path: Path, name: str, **options: object) -> LoadedModel:
    encoder = draw_weights(build_model(name, **options))
    frontend = find_frontend(MODELS[name].frontend)
    save_model(path, ModelFile(name, options, frontend, dict(encoder.state_dict())))
    return load_model(path)


def check_parity(folder: Path, loaded: LoadedModel) -> None:
    """Lengths and batches that the export itself does not try, and the shortest there is."""
    for package in PACKAGES:
        pytest.importorskip(package, reason=f"needs {package} of the extra onnx")
    out = folder / "model.onnx"
    parity = OTHER_PARITY.get(loaded.info.model, PARITY)
    assert export_onnx(loaded.path, out, tolerance=parity).difference > 0
    session = open_session(out)
    frontend = Frontend(loaded.frontend).eval()
    draw = np.random.default_rng(7)
    for batch, length in ((1, 51234), (3, 12345), (2, 97777)):
        waveforms = (0.1 * draw.standard_normal((batch, length))).astype(np.float32)
        with torch.inference_mode():
            expected = loaded.encoder(frontend(torch.from_numpy(waveforms))).numpy()
        (found,) = session.run([EMBEDDING], {WAVEFORM: waveforms})
        np.testing.assert_allclose(found, expected, atol=parity * np.abs(expected).max(), rtol=0)
    exported = load_onnx(out)
    assert exported.info == loaded.info
    feats = frontend(torch.from_numpy(waveforms))[:, : loaded.encoder.min_frames]
    with torch.inference_mode():
        expected = loaded.encoder(feats).numpy()
        found = exported.encoder(feats).numpy()
    np.testing.assert_allclose(found, expected, atol=parity * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize("name", EVERY)
def test_onnx_gives_the_embeddings(name: str, tmp_path: Path) -> None:
    check_parity(tmp_path, save(tmp_path / "model.pt", name))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("name", of_every_family())
def test_compiled_networks_give_the_embeddings(name: str, backend: str) -> None:
    """Captured as one graph without a break; and as code of its own, a minute's work of g++."""
    if backend == "inductor" and which("g++") is None:
        pytest.skip("torch.compile needs g++ on the CPU")
    encoder = draw_weights(build_model(name)).requires_grad_(False)
    draw = torch.Generator().manual_seed(1)
    feats = torch.randn(2, 200, encoder.feat_dim, generator=draw)
    torch.compiler.reset()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about its own insides
        expected = encoder(feats)
        found = torch.compile(encoder, dynamic=False, fullgraph=True, backend=backend)(feats)
    parity = OTHER_PARITY.get(name, PARITY)
    assert (found - expected).abs().max() <= parity * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_is_exported(pooling: str, tmp_path: Path) -> None:
    check_parity(tmp_path, save(tmp_path / "model.pt", "xvector", pooling=pooling, **SMALL_XVECTOR))


def test_short_and_long_recordings_are_treated_alike(tmp_path: Path) -> None:
    """An exported model repeats and cuts features as its model does."""
    for package in PACKAGES:
        pytest.importorskip(package, reason=f"needs {package} of the extra onnx")
    loaded = save(tmp_path / "model.pt", "xvector", **SMALL_XVECTOR)
    export_onnx(loaded.path, tmp_path / "model.onnx", tolerance=PARITY)
    exported = load_onnx(tmp_path / "model.onnx")
    draw = np.random.default_rng(3)
    waveforms = [(0.1 * draw.standard_normal(n)).astype(np.float32) for n in (1000, 48000)]
    rows = []
    for model in (loaded, exported):
        frames = Frontend(model.frontend).num_frames(1000)
        assert frames < model.encoder.min_frames
        settings = ExtractSettings(precision="fp32", max_seconds=1, min_speech=0)
        extractor = Extractor(model.encoder, model.frontend, settings, device=torch.device("cpu"))
        rows.append(extractor.embed_batch(waveforms))
    np.testing.assert_allclose(rows[1], rows[0], atol=PARITY * np.abs(rows[0]).max(), rtol=0)
