"""What holds for every recipe: it loads, stands in the table, and trains from where the table says.

Each is trained for two steps with a small network, tiny batches and short crops; its loss, chain,
schedule and stages are its own.
"""

import csv
import json
import math
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import soundfile
import typer.main
from ssl_sizes import TINY, skip_without_extras
from typer.testing import CliRunner

from sv_cli.checkpoints.model_file import ModelFile, save_model
from sv_cli.cli import app
from sv_cli.features.settings import find_frontend
from sv_cli.losses.margin_schedule import MarginSchedule
from sv_cli.models.registry import MODELS, build_model
from sv_cli.sampling.items import count_crops
from sv_cli.settings.model import build_settings
from sv_cli.settings.toml import flatten
from sv_cli.training.initial import start_from
from sv_cli.training.layers import collect_settings
from sv_cli.training.run import RunPaths, run_training
from sv_cli.training.schedule import LearningRate
from sv_cli.training.settings import TrainSettings

RECIPES = Path(__file__).parents[2] / "recipes"
FOLDERS = sorted(path.parent.name for path in RECIPES.glob("*/run.sh"))
with (RECIPES / "table.tsv").open(encoding="utf-8") as stream:
    ROWS = list(csv.DictReader(stream, delimiter="\t"))
TABLE = {row["recipe"]: row for row in ROWS}
NAMES = sorted(
    f"{folder}/{path.stem}"
    for folder in FOLDERS
    for path in (RECIPES / folder).glob("*.toml")
    if path.stem != "base"
)
FIGURES = (
    "eer_cosine", "eer_asnorm", "eer_qmf", "eer_plda",
    "min_dcf_cosine", "min_dcf_asnorm", "min_dcf_qmf",
)  # fmt: skip
# Classes of another number of centres begin at random: the published recipe has it so.
OTHER_CLASSES = {"speaker_net_voxceleb2/repvgg_b1_lm"}

_ONE_EACH = {"num_blocks": [1, 1, 1, 1], "m_channels": 8}
SMALL: dict[str, dict[str, Any]] = {  # module -> options that make its networks small
    "xvector": {"hidden_dim": 32, "stats_dim": 32},
    "ecapa": {"channels": 16},
    "ecapa_speechbrain": {"channels": 16},
    "ecapa_taoruijie": {"channels": 16},
    "xi_vector": {"channels": 16},
    "speaker_net": {"channels": 8},
    "resnet": _ONE_EACH,
    "res2net": _ONE_EACH,
    "eres2net": _ONE_EACH,
    "eres2netv2": {**_ONE_EACH, "m_channels": 16},
    "campplus": {"growth": 8, "channels": 32},
    "repvgg": {"blocks": [1, 1, 1, 1], "widths": [0.25, 0.25, 0.25, 0.25]},
    "dfresnet": {"depths": [1, 1, 1, 1]},
    "simam_resnet": {"blocks": [1, 1, 1, 1], "channels": 8},
    "redimnet": {"channels": 8},
    "redimnet2": {
        "channels": 8,
        "out_channels": 8,
        "stages": [{"blocks": 1}, {"freq_stride": 2, "time_stride": 2}, {"expansion": 0.5}],
    },
}
SECONDS, SPEAKERS = 5.2, 8  # longer than the shortest utterance that any recipe takes


def path_of(name: str) -> Path:
    return RECIPES / f"{name}.toml"


def load(name: str, **layers: Any) -> TrainSettings:
    values = collect_settings(config=str(path_of(name)), **layers).values
    return build_settings(TrainSettings, values, where=name)


def small_options(model: str) -> dict[str, Any]:
    return TINY.get(model) or SMALL[MODELS[model].module]


def started_by(name: str) -> str:
    """Return what a recipe starts from: another one, `hub:NAME`, `file`, or nothing."""
    start = TABLE[name]["starts_from"].partition(":epoch:")[0]
    return "" if start == "-" else start


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data directories `train`, and `noise` of MUSAN's kinds that serves as responses, too."""
    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.Generator(np.random.PCG64(3))
    kinds = [f"{kind}-{i}" for kind in ("noise", "music", "speech") for i in range(4)]
    voices = [f"s{i}-u0" for i in range(SPEAKERS)]
    for folder, names, seconds in (("noise", kinds, 0.3), ("train", voices, SECONDS)):
        (root / folder).mkdir()
        for name in names:
            wave = 0.05 * rng.standard_normal(int(seconds * 16000))
            soundfile.write(root / folder / f"{name}.wav", wave, 16000, subtype="PCM_16")
        write(root / folder / "wav.scp", [f"{n} {root}/{folder}/{n}.wav" for n in names])
    write(root / "train/utt2spk", [f"{name} {name[:2]}" for name in voices])
    write(root / "train/spk2utt", [f"{name[:2]} {name}" for name in voices])
    write(root / "train/utt2dur", [f"{name} {SECONDS}" for name in voices])
    return root


def write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


class Runs:
    """The runs of recipes in small, each made once; a stage makes the run it starts from."""

    def __init__(self, corpus: Path, folder: Path) -> None:
        self.corpus, self.folder = corpus, folder
        self.told: dict[str, str] = {}  # what a run said of its start

    def of(self, name: str) -> Path:
        exp = self.folder / name
        if not (exp / "final.pt").is_file():
            settings = load(name, init=self.start_of(name), overrides=self.overrides(name))
            paths = RunPaths(str(self.corpus / "train"), str(exp))
            with patch("sv_cli.training.run.start_from") as starting:
                starting.side_effect = lambda *given, **named: self.told.setdefault(
                    name, start_from(*given, **named)
                )
                result = run_training(settings, paths)
            assert result.steps == 2 and not result.stopped
        return exp

    def start_of(self, name: str) -> str:
        start = started_by(name)
        if start in TABLE:
            return str(self.of(start))
        return str(self.weights(load(name))) if start else ""

    def weights(self, settings: TrainSettings) -> Path:
        """Return a model file as `svtool import` makes it."""
        path = self.folder / "weights" / f"{settings.model}.pt"
        if not path.exists():
            options = dict(small_options(settings.model))
            if settings.model in TINY:
                options.update(backend="mean", backend_options={}, embedding_dim=32)
            encoder = build_model(settings.model, **options)
            frontend = find_frontend(MODELS[settings.model].frontend)
            save_model(path, ModelFile(settings.model, options, frontend, encoder.state_dict()))
        return path

    def overrides(self, name: str) -> list[str]:
        settings = load(name)
        values = {
            "model_options": small_options(settings.model),
            "batch_size": SPEAKERS // 2,
            "num_epochs": 1,
            "data": {
                "chunk_seconds": 0.5,
                "num_workers": 0,
                "min_speaker_seconds": 0,
                "crops_per_epoch": SPEAKERS,
            },
            "engine": {"device": "cpu", "precision": "fp32", "log_every_steps": 1},
            "augment": {
                kind: str(self.corpus / "noise")
                for kind in ("musan", "noise", "rir", "room_rir", "room_noise")
                if getattr(settings.augment, kind)
            },
        }
        as_toml = lambda value: json.dumps(value).replace('":', '" =')  # noqa: E731
        return [f"{key}={as_toml(value)}" for key, value in flatten(values).items()]


@pytest.fixture(scope="module")
def runs(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(corpus, tmp_path_factory.mktemp("runs"))


def test_the_table_has_each_recipe_once() -> None:
    assert [row["recipe"] for row in ROWS] == NAMES
    assert all(None not in row.values() and None not in row for row in ROWS)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_tells_figures_or_that_there_are_none(name: str) -> None:
    row = TABLE[name]
    figure = r"\d+\.\d+"
    pattern = rf"-|{figure}( / {figure}| / -)*( \([^)]+\))?"
    for column in FIGURES:
        assert re.fullmatch(pattern, row[column]), (column, row[column])
        if row[column].count(" / ") > 2:
            assert row[column].count(" / ") == len(lists_of(row)) - 1
    assert row["source"] and row["training"] and row["trials"]
    assert (row["our_eer"] == "not run") == (row["when"] == "-")
    start = started_by(name)
    assert start in TABLE or start in ("", "file") or start.startswith("hub:")
    assert (start in TABLE) or not name.endswith("_lm") or start == "file"


def lists_of(row: dict[str, str]) -> list[str]:
    """Return the trial lists that a row has figures of, as `A/B cleaned, C` names them."""
    return [one for part in row["trials"].split(", ") for one in re.split(r" ?/ ?", part)]


@pytest.mark.parametrize("model", sorted({load(name).model for name in NAMES}))
def test_the_page_of_networks_gives_what_the_table_gives(model: str) -> None:
    """ReDimNet2 is published by others, too, with another front-end."""
    figures = {
        row[column].split(" / ")[0].removesuffix(" (O)")
        for name, row in TABLE.items()
        if row["trials"].startswith("VoxCeleb1 O") and load(name).model == model
        for column in ("eer_cosine", "eer_asnorm", "eer_qmf")
    } - {"-"}
    published = MODELS[model].published_eer
    if published is None:
        assert not figures or model.startswith("redimnet2")
    else:
        assert published in {float(figure) for figure in figures}


def test_values_of_redimnet_are_those_of_its_configuration() -> None:
    """conf/redimnet.yaml has arc_margin; conf/redimnet2.yaml has sphereface2."""
    first, second = load("voxceleb_v2/redimnet_b2"), load("voxceleb_v2/redimnet2_b6")
    assert (first.loss.name, first.loss.margin, first.loss.scale) == ("aam", 0.2, 32.0)
    assert (first.num_epochs, first.batch_size, first.optim.weight_decay) == (120, 256, 2e-5)
    assert second.loss.name == "sphereface2"


@pytest.mark.parametrize("corpus", ["voxceleb", "cnceleb", "3dspeaker"])
@pytest.mark.parametrize("size", ["base", "large"])
def test_eres2net_is_fine_tuned_alike_on_every_corpus(corpus: str, size: str) -> None:
    """Values of eres2net_lm.yaml, which the three folders of 3D-Speaker share."""
    name = f"3dspeaker/{corpus}_eres2net_{size}_lm"
    settings = load(name)
    assert started_by(name) == f"3dspeaker/{corpus}_eres2net_{size}"
    assert (settings.num_epochs, 4 * settings.batch_size) == (7, 128)
    assert (settings.data.chunk_seconds, settings.augment.prob) == (6.0, 0.8)
    assert (settings.schedule.lr, settings.schedule.final_lr) == (1e-4, 2e-5)
    assert (settings.schedule.warmup_epochs, settings.loss.margin) == (1, 0.5)
    assert settings.augment.speed_classes == "subset"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*/*.toml")), ids=lambda p: str(p.stem))
def test_a_recipe_is_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 24
    if path.parent.name in FOLDERS:
        assert 5 <= len(lines) <= 15 and lines[0].startswith("# ")
        assert path.stem == "base" or 'extends = "base.toml"' in lines


@pytest.mark.parametrize("name", NAMES)
def test_every_value_is_shown_with_its_origin(name: str) -> None:
    path = path_of(name)
    shown = CliRunner().invoke(app, ["train", "--config", str(path), "--show-settings"])
    assert shown.exit_code == 0, shown.output
    lines = dict(re.fullmatch(r"(\S+) = .*  # (.+)", x).groups() for x in shown.stdout.splitlines())
    settings = flatten(load(name).model_dump(mode="json"))
    assert lines.keys() == settings.keys()
    chain = f"chain {load(name).augment.chain}"
    known = {"default", str(path), str(path.parent / "base.toml"), chain}
    assert set(lines.values()) <= known
    assert lines["model"] == str(path) and lines["data.chunk_seconds"] != "default"


@pytest.mark.parametrize("name", [name for name in NAMES if started_by(name) in TABLE])
def test_a_stage_fits_what_it_starts_from(name: str) -> None:
    own, base = load(name), load(started_by(name))
    assert (own.model, own.frontend, own.frontend_options) == (
        base.model, base.frontend, base.frontend_options,
    )  # fmt: skip
    if name.endswith("_lm"):
        assert own.loss.margin > base.loss.margin and own.loss.rise_end_epoch == 0
        assert own.data.chunk_seconds > 1.9 * base.data.chunk_seconds
        assert own.schedule.lr <= base.schedule.lr


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains(name: str, runs: Runs) -> None:
    skip_without_extras(load(name).model)
    exp = runs.of(name)
    events = [json.loads(line) for line in (exp / "log.jsonl").read_text().splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "step"]
    assert len(losses) == 2 and all(map(math.isfinite, losses))
    start, told = started_by(name), runs.told.get(name, "")
    assert bool(told) == bool(start)
    if name in OTHER_CLASSES:
        assert "head at random, the loss of the source is another one" in told
    elif start in TABLE:
        assert re.search(r"head: (\d+) of \1 classes from `.*` by name", told), told


# Epochs done -> learning rate, of runs with the published number of utterances a step.
RATES: dict[str, tuple[int, dict[float, float]]] = {
    "voxceleb_v2/resnet34": (256, {6: 0.295, 20: 0.145, 40: 0.0527, 100: 0.00252, 150: 2e-4}),
    "cnceleb_v2/resnet34": (256, {6: 0.295, 20: 0.145, 40: 0.0527, 100: 0.00252, 150: 2e-4}),
    "3dspeaker/voxceleb_eres2net_base": (
        256, {1: 0.04004, 5: 0.2, 20: 0.174857, 37.5: 0.100025, 50: 0.043233, 70: 5e-5},
    ),
    "redimnet2_voxceleb2/b3": (1792, {6: 1.931, 60: 0.06859, 120: 0.00168}),
    "redimnet2_voxceleb2/b6": (1120, {3: 0.7269, 6: 1.207, 120: 0.00105}),
    "redimnet2_voxceleb2/b6_lm": (384, {0.5: 2.612e-4, 1: 4.547e-4, 5: 1.5e-4}),
    "ecapa_tdnn_voxceleb2/ecapa_c1024": (400, {0: 1e-3, 1: 0.97e-3, 79: 9.0e-5}),
    "speaker_net_voxceleb2/ecapa_c512": (
        256, {1: 0.02, 14.9: 0.02, 15.1: 0.002, 25.1: 2e-4, 35.1: 2e-5},
    ),
    "speaker_net_voxceleb2/ecapa_c512_lm": (128, {0: 1e-4, 8: 5e-5, 15: 2.5e-5}),
    "voxceleb_v2/w2vbert_lora": (
        512, {0: 2e-8, 2.5: 5e-5, 5: 1e-4, 9.999: 1e-4, 10: 1e-5, 14.999: 1e-5},
    ),
    "voxceleb_v2/w2vbert_joint": (128, {0: 1e-5, 1: 7.5e-6, 2: 5e-6, 4: 5e-6}),
}  # fmt: skip
# Epochs done -> margin.
MARGINS: dict[str, dict[float, float]] = {
    "voxceleb_v2/resnet34": {19: 0.0, 20: 0.058, 21: 0.0998, 22: 0.129, 24: 0.164, 30: 0.1955},
    "cnceleb_v2/ecapa_glob_c512": {19: 0.0, 20: 0.058, 21: 0.0998, 40: 0.2},
    "redimnet2_voxceleb2/b6": {19: 0.0, 20: 0.058, 21: 0.0998, 40: 0.2},
    "redimnet2_voxceleb2/b6_lm": {0: 0.3},
    "3dspeaker/cnceleb_eres2netv2": {21: 0.0617, 23: 0.1496, 25: 0.2051, 30: 0.270, 45: 0.2991},
    "3dspeaker/voxceleb_campplus": {15: 0.0, 25: 0.2},
    "3dspeaker/voxceleb_eres2net_base_lm": {0: 0.5},
    "voxceleb_v2/dfresnet114": {0: 0.2},
}


@pytest.mark.parametrize("name", RATES)
def test_rates_are_those_that_are_published(name: str) -> None:
    settings, (batch_total, points) = load(name), RATES[name]
    steps = 1000
    rate = LearningRate(settings.schedule, steps, steps * settings.num_epochs, batch_total)
    for epoch, value in points.items():
        assert rate.value(round(epoch * steps)) == pytest.approx(value, rel=6e-3), epoch


@pytest.mark.parametrize("name", MARGINS)
def test_margins_are_those_that_are_published(name: str) -> None:
    loss, steps = load(name).loss, 1000
    bounds = round(loss.rise_start_epoch * steps), round(loss.rise_end_epoch * steps)
    margin = MarginSchedule(loss.initial_margin, loss.margin, *bounds, shape=loss.rise)
    for epoch, value in MARGINS[name].items():
        assert margin.value(round(epoch * steps)) == pytest.approx(value, abs=6e-4), epoch


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("speaker_net")])
def test_margin_of_speaker_net_is_annealed(name: str) -> None:
    loss = load(name).loss
    if name.endswith("_lm"):
        assert loss.rise_end_epoch == 0
        return
    start, end = round(loss.rise_start_epoch * 20191), round(loss.rise_end_epoch * 20191)
    margin = MarginSchedule(loss.initial_margin, loss.margin, start, end, shape=loss.rise)
    for steps, share in ((-1, 0.0), (0, 0.001), (20191, 0.2), (29811, 0.5)):
        assert margin.value(start + steps) == pytest.approx(0.2 * share, rel=5e-3, abs=1e-5)
    assert margin.value(end - 1) == pytest.approx(0.2, rel=1e-3)


def commands_of(name: str, *options: str) -> list[list[str]]:
    """Return the commands that a run.sh would run for a recipe, as words."""
    folder, model = name.split("/")
    line = ["bash", str(RECIPES / folder / "run.sh"), "--dry-run", "--model", model, *options]
    told = subprocess.run(line, capture_output=True, text=True, check=True)
    return [shlex.split(text) for text in told.stdout.splitlines()]


# The longest chain of stages of each folder, and each corpus of 3D-Speaker.
CHAINS = [
    "3dspeaker/3dspeaker_eres2netv2_lm", "3dspeaker/cnceleb_campplus",
    "3dspeaker/voxceleb_eres2net_large_lm", "cnceleb_v2/resnet34_lm",
    "ecapa_tdnn_voxceleb2/ecapa_c1024", "redimnet2_voxceleb2/b6_lm",
    "speaker_net_voxceleb2/repvgg_b1_lm", "voxceleb_v2/w2vbert_joint_lm",
    "voxceleb_v2/wavlm_joint_lm",
]  # fmt: skip


def test_chains_cover_every_folder() -> None:
    assert sorted({name.split("/")[0] for name in CHAINS}) == FOLDERS


@pytest.mark.parametrize("script", sorted(RECIPES.glob("**/*.sh")), ids=lambda p: p.parent.name)
def test_a_script_is_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize("name", CHAINS)
def test_every_command_of_a_script_is_understood(name: str) -> None:
    commands = commands_of(name)
    assert len(commands) > 15
    root = typer.main.get_command(app)
    for program, *words in commands:
        assert program == "svtool"
        command, verbs = root, []
        while hasattr(command, "commands"):
            verbs.append(words.pop(0))
            command = command.commands[verbs[-1]]
        with command.make_context(" ".join(verbs), words) as context:
            assert context.command is command
    trained = [words[words.index("--config") + 1] for words in commands if words[1] == "train"]
    assert trained[-1] == str(path_of(name)) and all(Path(path).is_file() for path in trained)
    started = [words[words.index("--init") + 1] for words in commands if "--init" in words]
    written = [words[-2] for words in commands if words[1] == "average"]
    runs = [path.partition(":epoch:")[0] for path in started if "weights" not in path]
    assert [path.removesuffix("/average.pt") for path in runs] == (
        [path.removesuffix("/average.pt") for path in written[: len(trained) - 1]]
    )


@pytest.mark.parametrize(
    ("model", "epoch"),
    [
        ("resnet34_c32", 31), ("resnet34_c64", 31), ("ecapa_c512", 34), ("ecapa_c1024", 35),
        ("repvgg_b1", 40),
    ],
)  # fmt: skip
def test_fine_tuning_of_speaker_net_starts_from_the_published_epoch(model: str, epoch: int) -> None:
    name = f"speaker_net_voxceleb2/{model}"
    starts = lambda *options: [  # noqa: E731
        words[words.index("--init") + 1]
        for words in commands_of(f"{name}_lm", *options)
        if "--init" in words
    ]
    assert starts() == [f"exp/{name}:epoch:{epoch}"]
    assert starts("--start-epoch", "7") == [f"exp/{name}:epoch:7"]
    base = load(name)
    assert base.num_epochs - base.engine.keep_last < epoch  # it is still there
    averaged = [words for words in commands_of(name) if words[1] == "average"]
    assert averaged == [
        ["svtool", "average", "--last", "1", f"exp/{name}", f"exp/{name}/average.pt", "--force"]
    ]


def test_fine_tuning_of_imported_weights_trains_no_base() -> None:
    options = ("--initial", "/w/kaldi.pt")
    commands = commands_of("speaker_net_voxceleb2/resnet34_c64_lm", *options)
    trained = [words for words in commands if words[1] == "train"]
    assert len(trained) == 1 and trained[0][trained[0].index("--init") + 1] == "/w/kaldi.pt"


def test_only_taoruijie_measures_the_dev_eer_on_its_trials() -> None:
    (trained,) = (w for w in commands_of("ecapa_tdnn_voxceleb2/ecapa_c1024") if w[1] == "train")
    assert trained[trained.index("--dev-data") + 1] == "data/vox1/test"
    assert trained[trained.index("--dev-trials") + 1] == "data/vox1/test/trials-O-clean"
    assert load("ecapa_tdnn_voxceleb2/ecapa_c1024").engine.validate_every_epochs == 1
    others = commands_of("voxceleb_v2/resnet34_lm")
    assert not any("--dev-data" in words for words in others)


@pytest.mark.parametrize("name", CHAINS)
def test_archives_are_written_once_and_trained_from(name: str) -> None:
    """Nothing but training reads them."""
    plain, packed = commands_of(name), commands_of(name, "--shar", "yes")
    assert not any("-shar" in word for words in plain for word in words)
    written = [words for words in packed if words[1:3] == ["data", "to-shar"]]
    assert len(written) == 1
    source, archives = written[0][3:5]
    trained = [words[words.index("--data") + 1] for words in packed if words[1] == "train"]
    assert trained == [archives] * len(trained) and trained
    assert [words[words.index("--data") + 1] for words in plain if words[1] == "train"] == [
        source
    ] * len(trained)
    rest = [words for words in packed if words[1] != "train" and words not in written]
    assert rest == [words for words in plain if words[1] != "train"]


# An epoch takes each crop at every speed.
EVERY_SPEED = {"voxceleb_v2/w2vbert_frozen", "voxceleb_v2/w2vbert_lora"}
# What an epoch takes: seconds of an utterance -> crops.
CROPS: dict[str, dict[float, int]] = {
    "voxceleb_v2/resnet34": {4.0: 1, 20.0: 1},
    "voxceleb_v2/w2vbert_frozen": {4.0: 1, 20.0: 1},
    "voxceleb_v2/w2vbert_lora": {4.0: 1, 20.0: 1},
    "voxceleb_v2/w2vbert_joint": {4.0: 1, 20.0: 1},
    "ecapa_tdnn_voxceleb2/ecapa_c1024": {4.0: 1, 20.0: 1},
    "redimnet2_voxceleb2/b3": {1.0: 1, 20.0: 1},
    "redimnet2_voxceleb2/b6_lm": {1.0: 1, 20.0: 1},
    "3dspeaker/voxceleb_eres2net_base": {2.0: 1, 7.9: 1, 8.0: 2, 20.0: 5},
    "3dspeaker/voxceleb_eres2net_base_lm": {2.0: 1, 7.9: 1, 8.0: 2, 20.0: 5},
    "3dspeaker/voxceleb_campplus": {2.0: 1, 7.9: 2, 9.0: 3},
    "3dspeaker/voxceleb_campplus_lm": {2.0: 1, 7.9: 2, 9.0: 3},
    "3dspeaker/cnceleb_campplus": {2.0: 1, 7.9: 1, 9.0: 2},
    "3dspeaker/3dspeaker_campplus": {2.0: 1, 7.9: 2, 9.0: 3},
    "speaker_net_voxceleb2/resnet34_c32": {2.1: 2, 3.815: 2, 4.0: 3, 7.8: 5},
    "speaker_net_voxceleb2/resnet34_c32_lm": {2.1: 1, 6.015: 1, 6.1: 2, 11.415: 2, 12.0: 3},
}


@pytest.mark.parametrize("name", CROPS)
def test_an_epoch_is_what_the_project_counts(name: str) -> None:
    settings = load(name)
    counts = count_crops(np.array(list(CROPS[name])), settings.data, sample_rate=16000)
    assert counts.tolist() == list(CROPS[name].values())
    assert (settings.augment.speed_draw == "each") == (name in EVERY_SPEED)
    assert (settings.data.padding == "zeros") == name.startswith("3dspeaker/")


def test_stages_are_chosen() -> None:
    kinds = [words[1] for words in commands_of("voxceleb_v2/resnet34_lm", "--stage", "2")]
    assert kinds[0] == "train" and kinds[-1] == "eval"
    only = commands_of("voxceleb_v2/resnet34_lm", "--stage", "6", "--stop-stage", "6")
    assert [words[1] for words in only] == ["score"] * 3


@pytest.mark.parametrize("options", [["--no-such", "1"], ["--model", "resnet35"], ["--top-n"]])
def test_a_script_refuses_what_it_does_not_know(options: list[str]) -> None:
    script = RECIPES / "voxceleb_v2" / "run.sh"
    told = subprocess.run(
        ["bash", str(script), "--dry-run", *options], capture_output=True, text=True
    )
    assert told.returncode == 2 and "run.sh: " in told.stderr and not told.stdout
