"""`svtool models`: the table, its page in the documentation, and that both tell the truth."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from drawn_models import SELF_SUPERVISED
from typer.testing import CliRunner

from sv_cli.checkpoints.foreign.detection import PROJECTS
from sv_cli.checkpoints.foreign.shapes import Shapes
from sv_cli.checkpoints.hub import PUBLISHED, TITLES
from sv_cli.cli import app
from sv_cli.models.deployed import DEPLOYED
from sv_cli.models.registry import MODELS, build_model

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
# Their keys are renamed at the import; recorded WeSpeaker weights are held to that elsewhere.
RENAMED = {"eres2net34_base", "eres2net34_large", "eres2net34_aug"}


@pytest.fixture(autouse=True)
def usual_hosts(monkeypatch):
    """Addresses on the page are those of the hosts, not of the caller's mirror."""
    monkeypatch.delenv("HF_ENDPOINT", raising=False)


def run(*words):
    result = CliRunner().invoke(app, ["models", *words])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_page_is_what_the_command_writes():
    assert PAGE.read_text(encoding="utf-8") == run("--markdown"), "run `make docs`"


def test_the_page_names_every_network_and_all_published_weights():
    page = run("--markdown")
    for name, entry in MODELS.items():
        assert page.count(f"| `{name}` | {entry.parameters:,} |") == 1
    assert all(row.page in page for row in PUBLISHED.values())
    assert "| `repvgg_tiny_a0` | 6,833,792 | 6,264,352 |" in page


def test_one_network_and_json():
    told = dict(line.split(": ", 1) for line in run("ERes2Net-Base").splitlines())
    assert told["imported_from"] == "3D-Speaker"
    assert told["deploy_parameters"] == "none"
    assert "iic/speech_eres2net_sv_en_voxceleb_16k" in told["published"]
    rows = json.loads(run("--json"))
    assert rows.keys() == MODELS.keys()
    assert rows["redimnet_b0"]["input"] == "200 x 60"
    assert rows["ecapa_3dspeaker_c1024"]["imported_from"] == ["3D-Speaker", "SpeechBrain"]


def test_the_page_is_of_all_networks():
    result = CliRunner().invoke(app, ["models", "resnet34", "--markdown"])
    assert result.exit_code == 2


@pytest.mark.parametrize("words", [[], ["--markdown"], ["--json"], ["resnet34"]])
def test_no_torch_is_loaded(words):
    line = (
        "import sys; from sv_cli.cli import app\n"
        f"try: app(['models', *{words!r}])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules and 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", line], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("name", [n for n, entry in MODELS.items() if entry.family == "RepVGG"])
def test_parameters_in_deploy_form(name):
    with torch.device("meta"):
        encoder = build_model(name, deploy=True)
    assert sum(p.numel() for p in encoder.parameters()) == DEPLOYED[name]


def test_titles_are_those_of_the_projects():
    assert {key: project.title for key, project in PROJECTS.items()} == TITLES
    assert {row.model for row in PUBLISHED.values()} <= MODELS.keys()


@pytest.mark.parametrize("name", sorted(MODELS.keys() - RENAMED - SELF_SUPERVISED))
def test_every_network_is_recognised_by_the_import_of_its_source(name):
    with torch.device("meta"):
        weights = build_model(name).state_dict()
    shapes = Shapes({key: tuple(value.shape) for key, value in weights.items()}, what=name)
    (project,) = [p for p in PROJECTS.values() if p.title == MODELS[name].source]
    layout = project.recognise(shapes)
    assert layout is not None
    assert name in layout.names
