"""Starting from a model: network, rows of known classes, front-ends, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_run import SMALL, small_run
from torch import Tensor, nn
from typer.testing import CliRunner

from sv_cli.checkpoints.average import average_models
from sv_cli.checkpoints.model_file import read_model, save_model
from sv_cli.cli import app
from sv_cli.errors import CheckpointError, SettingsError
from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.settings.model import build_settings
from sv_cli.training.distributed import World
from sv_cli.training.initial import Source, load_encoder, read_source, start_from
from sv_cli.training.layers import collect_settings
from sv_cli.training.learner import Learner
from sv_cli.training.run import RunPaths, run_training
from sv_cli.training.settings import TrainSettings

WORLD = World(0, 1, torch.device("cpu"))


def learner(speakers: list[str], **changes: object) -> Learner:
    return Learner(small_run(**changes), num_classes=len(speakers), world=WORLD)


@pytest.fixture(scope="module")
def base(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    exp = tmp_path_factory.mktemp("base") / "exp"
    run_training(small_run(), RunPaths(str(voices), str(exp)))
    from sv_cli.settings.toml import write_settings

    write_settings(exp / "settings.toml", small_run())
    return exp


def test_rows_follow_the_names_of_their_speakers(base: Path) -> None:
    source = read_source(str(base))
    speakers = ["s1", "new", "s4"]
    started = learner(speakers)
    at_random = started.module.head.weight.detach().clone()
    told = start_from(source, started, speakers)
    row = lambda name: source.head["weight"][source.speakers.index(name)]  # noqa: E731
    assert torch.equal(started.module.head.weight[0], row("s1"))
    assert torch.equal(started.module.head.weight[2], row("s4"))
    assert torch.equal(started.module.head.weight[1], at_random[1])
    for key, value in started.encoder.state_dict().items():
        assert torch.equal(value, source.encoder[key])
    classes = f"head: 2 of 3 classes from `{base / 'final.pt'}` by name"
    assert f"{classes}, 1 at random, 4 of the source not used" in told
    assert f"network loaded ({len(source.encoder)} tensors)" in told


def test_a_large_margin_stage_keeps_the_classes_of_speed_one(base: Path) -> None:
    plain = read_source(str(base))
    names = [*plain.speakers, *(f"sp{f}-{s}" for f in ("0.9", "1.1") for s in plain.speakers)]
    wide = torch.randn(18, 8)
    source = Source(base, plain.model, plain.options, plain.encoder, {"weight": wide}, names)
    started = learner(plain.speakers)
    told = start_from(source, started, plain.speakers)
    assert torch.equal(started.module.head.weight.detach(), wide[:6])
    assert "head: 6 of 6 classes" in told and "by name, 0 at random, 12 of the source" in told


def test_rows_of_sub_centres_stay_together(base: Path) -> None:
    plain = read_source(str(base))
    wide = torch.randn(18, 8)
    source = Source(
        base, plain.model, plain.options, plain.encoder, {"weight": wide}, plain.speakers
    )
    loss = {"name": "aam_intertopk_subcenter", "options": {"topk": 1}}
    started = learner(["s5", "s0"], loss=loss)
    start_from(source, started, ["s5", "s0"])
    assert torch.equal(started.module.head.weight.detach(), torch.cat([wide[15:], wide[:3]]))


@pytest.mark.parametrize("loss", ["softmax", "aam_intertopk_subcenter"])
def test_another_loss_begins_at_random(base: Path, loss: str) -> None:
    source = read_source(str(base))
    started = learner(source.speakers, loss={"name": loss, "options": {}})
    assert "the loss of the source is another one" in start_from(source, started, source.speakers)


def test_a_model_file_holds_its_head(base: Path, tmp_path: Path) -> None:
    (tmp_path / "alone.pt").write_bytes((base / "final.pt").read_bytes())
    source = read_source(str(tmp_path / "alone.pt"))
    assert torch.equal(source.head["weight"], read_source(str(base / "state.pt")).head["weight"])
    save_model(tmp_path / "bare.pt", replace(read_model(tmp_path / "alone.pt"), head={}))
    bare = read_source(str(tmp_path / "bare.pt"))
    assert "the source has none" in start_from(bare, learner(["s0", "s1"]), ["s0", "s1"])
    # As an older svtool wrote it: the state next to it has the head.
    (tmp_path / "state.pt").write_bytes((base / "state.pt").read_bytes())
    assert read_source(str(tmp_path / "bare.pt")).head.keys() == source.head.keys()


def test_fine_tuning_starts_from_the_averaged_head(base: Path, tmp_path: Path) -> None:
    last = read_model(base / "final.pt")
    earlier = replace(last, head={"weight": last.head["weight"] + 2.0})
    save_model(tmp_path / "earlier.pt", earlier)
    mean = average_models([tmp_path / "earlier.pt", base / "final.pt"])
    save_model(base / "average.pt", mean)  # next to the state of the last step
    started = learner(last.speakers)
    told = start_from(read_source(str(base / "average.pt")), started, last.speakers)
    (base / "average.pt").unlink()
    assert "head: 6 of 6 classes" in told
    torch.testing.assert_close(started.module.head.weight.detach(), last.head["weight"] + 1.0)


def test_rows_without_names_are_taken_in_their_order_when_asked(base: Path) -> None:
    plain = read_source(str(base))
    wide = {"weight": torch.randn(3, 8)}
    source = Source(base, plain.model, plain.options, plain.encoder, wide)
    started, names = learner(["a", "b", "c"]), ["a", "b", "c"]
    at_random = started.module.head.weight.detach().clone()
    assert "without names of classes" in start_from(source, started, names)
    assert torch.equal(started.module.head.weight.detach(), at_random)
    assert "all 3 rows" in start_from(source, started, names, head="order")
    assert torch.equal(started.module.head.weight.detach(), wide["weight"])
    with pytest.raises(SettingsError, match=r"\(3, 8\).*this run .*\(2, 8\)"):
        start_from(source, learner(["a", "b"]), ["a", "b"], head="order")
    with pytest.raises(SettingsError, match="names its classes"):
        start_from(plain, learner(plain.speakers), plain.speakers, head="order")


def test_the_state_itself_is_a_source(base: Path) -> None:
    one, other = read_source(str(base / "state.pt")), read_source(str(base))
    assert one.speakers == other.speakers and one.model == other.model
    assert all(torch.equal(one.encoder[key], other.encoder[key]) for key in other.encoder)


def test_another_network_is_refused_with_its_keys(base: Path) -> None:
    other = learner(["a", "b"], model="resnet18", model_options={"m_channels": 8})
    with pytest.raises(CheckpointError, match=r"another network.*missing .*unexpected"):
        load_encoder(read_source(str(base)), other.encoder)


def test_the_mean_of_weights_starts_there_too(base: Path) -> None:
    source = read_source(str(base))
    started = learner(["s0", "s1"], engine={"precision": "fp32", "ema_decay": 0.9})
    start_from(source, started, ["s0", "s1"])
    assert all(torch.equal(v, source.encoder[k]) for k, v in started.result.state_dict().items())


class Heard(SpeakerEncoder):
    """A front-end named `ssl` and a layer after it."""

    feat_dim = embedding_dim = 4
    min_frames = 1

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.ssl = nn.Sequential(nn.Linear(4, width), nn.Linear(width, 4))
        self.head = nn.ModuleDict({"network": nn.Linear(4, 4)})

    def forward(self, feats: Tensor) -> Tensor:
        return self.head["network"](self.ssl(feats)).mean(dim=1)


def bare(network: Heard, **more: Tensor) -> Source:
    front = {k: v for k, v in network.state_dict().items() if k.startswith("ssl.")}
    return Source(Path("ssl.pt"), "eres2net", {}, {**front, "head.weights": torch.zeros(3), **more})


def test_a_bare_front_end_goes_into_a_larger_network() -> None:
    first, second = Heard(), Heard()
    behind = second.head["network"].weight.detach().clone()
    told = load_encoder(bare(first), second)
    assert torch.equal(second.ssl[1].weight, first.ssl[1].weight)
    assert torch.equal(second.head["network"].weight, behind)
    assert told == "front-end loaded (4 tensors), the 2 after it at random"


def test_front_ends_of_another_size_or_with_a_network_are_refused() -> None:
    with pytest.raises(CheckpointError, match="of another shape"):
        load_encoder(bare(Heard(5)), Heard())
    with pytest.raises(CheckpointError, match=r"unexpected .*head\.other"):
        load_encoder(bare(Heard(), **{"head.other": torch.zeros(1)}), Heard())


def test_network_and_front_end_come_from_the_source(base: Path) -> None:
    layers = collect_settings(init=str(base), overrides=["num_epochs=3"])
    assert layers.values["model"] == "ecapa_glob_c512"
    assert layers.values["model_options"] == SMALL["model_options"]
    assert layers.values["frontend"] == "wespeaker" and "batch_size" not in layers.values
    assert layers.origin("num_epochs") == "--set" and "final.pt" in layers.origin("model")
    other = collect_settings(init=str(base), model="resnet18")
    assert "model_options" not in other.values


def test_a_stage_inherits_the_settings_of_its_base(base: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "lm.toml"
    recipe.write_text("num_epochs = 5\n[init]\ninherit = true\n[loss]\nmargin = 0.5\n")
    layers = collect_settings(config=str(recipe), init=str(base))
    made = build_settings(TrainSettings, layers.values)
    assert (made.num_epochs, made.batch_size, made.loss.margin) == (5, 4, 0.5)
    assert made.data.chunk_seconds == 0.6 and made.init.model == str(base)
    with pytest.raises(SettingsError, match=r"no .*settings\.toml"):
        collect_settings(config=str(recipe), init=str(tmp_path))


def test_the_large_margin_recipe_fits_any_run(base: Path) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "small_set" / "large_margin.toml"
    layers = collect_settings(config=str(recipe), init=str(base))
    made = build_settings(TrainSettings, layers.values)
    assert made.model_options == SMALL["model_options"]
    assert (made.loss.margin, made.data.chunk_seconds, made.augment.speeds) == (0.5, 6.015, ())


def test_a_run_does_not_replace_what_it_starts_from(base: Path, voices: Path) -> None:
    for spec in (base, base / "final.pt", f"{base}:final"):
        with pytest.raises(SettingsError, match="is in the experiment directory"):
            run_training(
                small_run(init={"model": str(spec)}), RunPaths(str(voices), str(base)), force=True
            )
    assert (base / "final.pt").is_file()


def test_fine_tuning_as_a_user_types_it(base: Path, voices: Path, tmp_path: Path) -> None:
    exp = tmp_path / "tuned"
    line = ["train", "--init", str(base), "--data", str(voices), "--exp-dir", str(exp)]
    line += ["--set", "num_epochs=1", "--set", "batch_size=4", "--set", "schedule.lr=1e-9"]
    line += ["--set", "schedule.final_lr=1e-9"]
    line += ["--set", "data.chunk_seconds=0.6", "--set", "data.num_workers=0"]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    assert "head: 6 of 6 classes" in done.output
    before, after = (torch.load(p / "state.pt", weights_only=True)["head"] for p in (base, exp))
    torch.testing.assert_close(before["weight"], after["weight"], atol=1e-6, rtol=0)
