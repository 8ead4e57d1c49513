"""`sv_cli.load_model`: the embeddings of the commands, and clear refusals."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import sv_cli
from sv_cli import load_model
from sv_cli.audio.resample import resample
from sv_cli.audio.write import write_waveform
from sv_cli.backend.calibration import Calibration
from sv_cli.checkpoints import model_file, onnx_graph
from sv_cli.checkpoints.export import export_onnx
from sv_cli.checkpoints.model_file import ModelFile, save_model
from sv_cli.checkpoints.onnx_graph import PACKAGES
from sv_cli.cli import app
from sv_cli.errors import AudioError, CheckpointError, SettingsError, ShapeError, SvError
from sv_cli.extraction.extractor import Extractor
from sv_cli.extraction.settings import ExtractSettings
from sv_cli.features.settings import FRONTENDS
from sv_cli.models.registry import build_model
from sv_cli.scoring.score_files import write_score_model
from sv_cli.tables.datadir.directory import Utterance
from sv_cli.tables.embeddings import check_same_embeddings, read_embeddings

DOCS = Path(__file__).parents[2] / "docs" / "python.md"
SIZES = {"hidden_dim": 32, "stats_dim": 48, "embedding_dim": 16}


def small_model():
    torch.manual_seed(0)
    weights = build_model("xvector", **SIZES).state_dict()
    return ModelFile("xvector", SIZES, FRONTENDS["wespeaker"], dict(weights))


@pytest.fixture
def folder(tmp_path, waveforms):
    """An experiment directory and two recordings."""
    (tmp_path / "exp" / "eres2net").mkdir(parents=True)
    save_model(tmp_path / "exp" / "eres2net" / "best.pt", small_model())
    write_waveform(tmp_path / "first.wav", waveforms[0], 16000)
    write_waveform(tmp_path / "second.wav", waveforms[4], 16000)
    return tmp_path


@pytest.fixture
def model(folder):
    return load_model(folder / "exp" / "eres2net")


def test_the_example_of_the_documentation_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (example,) = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    exec(compile(example, str(DOCS), "exec"), {})
    first, verdict, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"(True|False) -?[01]\.\d+ 0\.5 given", verdict)
    assert re.fullmatch(r"cosine -?[01]\.\d{3}", first)
    assert second == "(16,) float32 16000 xvector"


def test_a_file_gives_what_extract_gives(folder, model):
    path = folder / "second.wav"
    file = model_file.load_model(f"{folder}/exp/eres2net:best")
    extractor = Extractor(file.encoder, file.frontend)
    ((_, expected),) = extractor.extract([Utterance("second", str(path))])
    np.testing.assert_array_equal(model.embed_file(path), expected)
    assert model.info == file.info


def test_other_rates_are_resampled(model, waveforms):
    low = resample(waveforms[0], 16000, 8000)
    expected = model.embed(resample(low, 8000, 16000), 16000)
    np.testing.assert_array_equal(model.embed(low, 8000), expected)
    np.testing.assert_array_equal(model.embed(low.astype(np.float64), 8000), expected)


def test_similarity_is_the_cosine(model):
    first, second = np.eye(16)[:2]
    assert model.similarity(first, 3 * first) == 1.0
    assert model.similarity(first, -first) == -1.0
    assert model.similarity(first, second) == 0.0
    with pytest.raises(ShapeError, match="of 16"):
        model.similarity(first, np.ones(15))


def test_a_verdict_names_its_threshold_and_where_it_comes_from(model, folder):
    pair = folder / "first.wav", folder / "second.wav"
    score = model.similarity(*map(model.embed_file, pair))
    unknown = model.verify(*pair)
    assert (unknown.score, unknown.same, unknown.threshold) == (score, None, None)
    given = model.verify(*pair, threshold=score)
    assert (given.same, given.threshold, given.threshold_source) == (True, score, "given")
    assert not model.verify(*pair, threshold=np.nextafter(score, 2)).same
    model.threshold = 2.0
    published = model.verify(*pair)
    assert (published.same, published.threshold_source) == (False, "published with the weights")
    fields = {"method": "logistic", "scale": 2.0, "offset": 1.0, "num_target": 1}
    costs = dict.fromkeys(("cllr_before", "cllr_after", "min_cllr"), 0.5)
    write_score_model(folder / "c.json", Calibration(**fields, **costs, num_nontarget=1))
    ratio = model.verify(*pair, calibration=folder / "c.json", p_target=0.25)
    assert ratio.score == pytest.approx(2 * score + 1)
    assert (ratio.threshold_source, ratio.threshold) == ("p_target 0.25", pytest.approx(np.log(3)))
    assert model.verify(*pair, calibration=folder / "c.json", p_target=0.5).threshold == 0
    for wrong, error in (("nan", SettingsError), (folder / "gone.json", SvError)):
        with pytest.raises(error):
            model.verify(*pair, threshold=wrong)
    with pytest.raises(SettingsError, match="p_target 1 is not inside"):
        model.verify(*pair, calibration=folder / "c.json", p_target=1)


@pytest.mark.parametrize(
    ("waveform", "rate", "error", "message"),
    [
        (np.zeros((2, 16000), np.float32), 16000, ShapeError, "one channel"),
        (np.zeros(16000, np.int16), 16000, AudioError, "int16"),
        (np.full(16000, np.nan), 16000, AudioError, "NaN"),
        (np.full(16000, 2000.0), 16000, AudioError, "up to 2000, where"),
        (np.zeros(399, np.float32), 16000, AudioError, "^399 samples are too few"),
        (np.zeros(0, np.float32), 8000, AudioError, "^0 samples are too few"),
        (np.zeros(16000, np.float32), 0, AudioError, "rate"),
    ],
)
def test_wrong_waveforms_are_refused(model, waveform, rate, error, message):
    with pytest.raises(error, match=message):
        model.embed(waveform, rate)


def test_no_command_is_run_and_no_file_named_twice(model, folder):
    for name in ("touch ran |", "-", str(folder / "none.wav")):
        with pytest.raises(AudioError, match="no such file"):
            model.embed_file(name)
    write_waveform(folder / "short.wav", np.zeros(100, np.float32), 16000)
    with pytest.raises(AudioError, match=r"short\.wav`: 100 samples are too few"):
        model.embed_file(folder / "short.wav")


@pytest.mark.parametrize(
    ("spec", "error"), [("none", CheckpointError), ("hub:campplos", SettingsError)]
)
def test_models_that_are_not_there(spec, error):
    with pytest.raises(error) as caught:
        load_model(spec)
    assert isinstance(caught.value, SvError)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    for package in PACKAGES:
        pytest.importorskip(package, reason=f"needs {package} of the extra onnx")
    folder = tmp_path_factory.mktemp("graph")
    save_model(folder / "best.pt", small_model())
    export_onnx(folder, folder / "model.onnx")
    return (folder / "model.onnx").read_bytes()


@pytest.fixture
def exported(folder, graph):
    (folder / "model.onnx").write_bytes(graph)
    return folder / "model.onnx"


def test_an_exported_model_gives_the_same(folder, model, exported, waveforms):
    found = load_model(exported)
    assert found.info == model.info
    names = ("sample_rate", "embedding_dim")
    assert [getattr(found, name) for name in names] == [getattr(model, name) for name in names]
    plain = load_model(
        folder / "exp" / "eres2net",
        settings=ExtractSettings(precision="fp32", max_seconds=0.5, min_speech=0),
    )
    found = load_model(exported, settings=ExtractSettings(max_seconds=0.5, min_speech=0))
    low = resample(waveforms[0], 16000, 8000)
    for samples, rate in ((waveforms[1], 16000), (waveforms[0][:900], 16000), (low, 8000)):
        expected = plain.embed(samples, rate)
        atol = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(found.embed(samples, rate), expected, atol=atol)
    path = folder / "second.wav"
    first, second = (m.embed_file(path) for m in (plain, found))
    assert found.similarity(first, second) > 0.999999


def test_an_exported_model_serves_extract_and_nothing_else(folder, exported):
    (folder / "wav.scp").write_text(f"a {folder}/first.wav\nb {folder}/second.wav\n")

    def run(*words):
        return CliRunner().invoke(app, list(map(str, words)))

    source = f"scp:{folder}/wav.scp"
    for name, spec in (("own", folder / "exp" / "eres2net"), ("onnx", exported)):
        result = run("extract", spec, source, folder / name)
        assert result.exit_code == 0, result.stderr
    own, onnx = (read_embeddings(str(folder / name)) for name in ("own", "onnx"))
    check_same_embeddings(own, onnx)
    np.testing.assert_allclose(onnx.matrix, own.matrix, atol=0.02 * np.abs(own.matrix).max())
    refused = run("extract", exported, source, folder / "bf16", "--precision", "bf16")
    assert refused.exit_code == 2
    assert "an exported graph is computed in fp32" in refused.stderr
    refused = run("export", exported, folder / "again.onnx")
    assert refused.exit_code == 1
    assert "serves extraction alone" in refused.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such model file"),
        (b"", "not an ONNX file that `svtool export` wrote"),
        (b"damaged" * 99, "damaged or not an ONNX file"),
        ("cut", "damaged or not an ONNX file"),
        ("foreign", "not an ONNX file that `svtool export` wrote"),
    ],
)
def test_other_onnx_files_are_refused(tmp_path, content, message, request):
    path = tmp_path / "other.onnx"
    if content in ("cut", "foreign"):
        whole = request.getfixturevalue("graph")
        path.write_bytes(whole[: len(whole) // 2] if content == "cut" else foreign(whole))
    elif content is not None:
        for package in PACKAGES:
            pytest.importorskip(package, reason=f"needs {package} of the extra onnx")
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(path)
    assert "\n" not in caught.value.message


def foreign(whole):
    """The graph of another program: without our metadata."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load_model_from_string(whole)
    del graph.metadata_props[:]
    return graph.SerializeToString()


def test_without_the_packages(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "PACKAGES", ("onnx_that_is_not_there",))
    (tmp_path / "a.onnx").touch()
    with pytest.raises(CheckpointError, match="onnx_that_is_not_there") as caught:
        load_model(tmp_path / "a.onnx")
    assert "svtool[onnx]" in caught.value.hint


def test_importing_the_package_loads_nothing():
    line = "import sys, sv_cli; print([m for m in sys.modules if m in ('torch', 'numpy')])"
    run = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="nothing"):
        _ = sv_cli.nothing
