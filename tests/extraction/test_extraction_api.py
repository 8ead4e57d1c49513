"""`sv_cli.load_model`: the embeddings of the commands, and clear refusals."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import sv_cli
from sv_cli import load_model
from sv_cli.audio.resample import resample
from sv_cli.audio.write import write_waveform
from sv_cli.checkpoints import model_file
from sv_cli.checkpoints.model_file import ModelFile, save_model
from sv_cli.errors import AudioError, CheckpointError, SettingsError, ShapeError, SvError
from sv_cli.extraction.extractor import Extractor
from sv_cli.features.settings import FRONTENDS
from sv_cli.models.registry import build_model
from sv_cli.tables.datadir import Utterance

DOCS = Path(__file__).parents[2] / "docs" / "python.md"
SIZES = {"hidden_dim": 32, "stats_dim": 48, "embedding_dim": 16}


@pytest.fixture
def folder(tmp_path, waveforms):
    """An experiment directory and two recordings."""
    torch.manual_seed(0)
    weights = build_model("xvector", **SIZES).state_dict()
    model = ModelFile("xvector", SIZES, FRONTENDS["wespeaker"], dict(weights))
    (tmp_path / "exp" / "eres2net").mkdir(parents=True)
    save_model(tmp_path / "exp" / "eres2net" / "best.pt", model)
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
    first, second = capsys.readouterr().out.splitlines()
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


@pytest.mark.parametrize(
    ("waveform", "rate", "error", "message"),
    [
        (np.zeros((2, 16000), np.float32), 16000, ShapeError, "one channel"),
        (np.zeros(16000, np.int16), 16000, AudioError, "int16"),
        (np.full(16000, np.nan), 16000, AudioError, "NaN"),
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


def test_importing_the_package_loads_nothing():
    line = "import sys, sv_cli; print([m for m in sys.modules if m in ('torch', 'numpy')])"
    run = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="nothing"):
        _ = sv_cli.nothing
