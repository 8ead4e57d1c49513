"""A run with low-rank pairs: its files are merged, its state is not, and stages follow it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ssl_sizes import TINY, skip_without_extras
from torch import Tensor
from typer.testing import CliRunner

from sv_cli.checkpoints.average import average_models
from sv_cli.checkpoints.model_file import load_model, read_model, save_model
from sv_cli.checkpoints.onnx_graph import PACKAGES
from sv_cli.checkpoints.state import load_state
from sv_cli.cli import app
from sv_cli.models.lora import is_pair
from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.models.registry import build_model
from sv_cli.settings.model import build_settings
from sv_cli.tables.embeddings import read_embeddings
from sv_cli.training.distributed import World
from sv_cli.training.initial import read_source, start_from
from sv_cli.training.layers import collect_settings
from sv_cli.training.learner import Learner
from sv_cli.training.recompute import recompute_blocks
from sv_cli.training.run import RunPaths, run_training
from sv_cli.training.settings import TrainSettings
from sv_cli.training.trainer import Trainer

NAME = "w2vbert2_mfa"
PLAIN = TINY[NAME]
LORA: dict[str, Any] = {**PLAIN, "lora": {"rank": 4, "alpha": 8.0}}
SPEAKERS = [f"s{number}" for number in range(6)]
ENGINE = {"log_every_steps": 1, "save_every_steps": 1, "precision": "fp32"}


@pytest.fixture(scope="module", autouse=True)
def _transformers() -> None:
    skip_without_extras(NAME)


def settings(options: dict[str, Any], **changes: Any) -> TrainSettings:
    values = {
        "model": NAME,
        "model_options": options,
        "batch_size": 10,
        "num_epochs": 1,
        "data": {"chunk_seconds": 0.6, "num_workers": 0},
        "optim": {"name": "adamw", "weight_decay": 0.1},
        "schedule": {"warmup_epochs": 0, "lr": 0.01, "final_lr": 0.01},
        "engine": ENGINE,
    }
    return build_settings(TrainSettings, {**values, **changes})


def started(options: dict[str, Any], source: Path, **changes: Any) -> tuple[Learner, str]:
    """Return what a stage of these options has before its first step, and what was told."""
    world = World(0, 1, torch.device("cpu"))
    learner = Learner(settings(options, **changes), num_classes=len(SPEAKERS), world=world)
    told = start_from(read_source(str(source)), learner, SPEAKERS)
    return learner, told


def embed(encoder: SpeakerEncoder) -> Tensor:
    feats = torch.randn(3, 60, 80, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        return encoder.eval()(feats)


def with_pairs(exp: Path) -> SpeakerEncoder:
    """Return the network of a run as its state holds it."""
    encoder = build_model(NAME, **LORA)
    encoder.load_state_dict(load_state(exp / "state.pt").encoder)
    return encoder


def assert_close(one: Tensor, other: Tensor) -> None:
    assert (one - other).abs().max() <= 1e-5 * other.abs().max()


@pytest.fixture(scope="module")
def exp(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of three steps with pairs."""
    folder = tmp_path_factory.mktemp("lora") / "exp"
    assert run_training(settings(LORA), RunPaths(str(voices), str(folder))).steps == 3
    return folder


def test_model_files_are_merged_and_the_state_is_not(exp: Path) -> None:
    model, state = read_model(exp), load_state(exp / "state.pt")
    assert model.options == PLAIN and state.settings["model_options"] == LORA
    assert not any(map(is_pair, model.weights))
    assert sum(map(is_pair, state.encoder)) == 8
    assert_close(embed(load_model(exp).encoder), embed(with_pairs(exp)))


def test_only_the_layers_with_pairs_have_moved(exp: Path) -> None:
    torch.manual_seed(settings(LORA).seed)
    begun = build_model(NAME, **LORA).state_dict()
    learned, state = read_model(exp).weights, load_state(exp / "state.pt").encoder
    moved = {key for key, value in learned.items() if not value.equal(begun[key])}
    ssl = {key for key in moved if key.startswith("ssl.")}
    layers = [f"ssl.model.encoder.layers.{number}.self_attn.linear_" for number in (0, 1)]
    assert ssl == {f"{layer}{which}.weight" for layer in layers for which in "qv"}
    assert not moved.isdisjoint(key for key in learned if key.startswith("head."))
    assert all(state[key].equal(begun[key]) for key in learned if key.startswith("ssl."))


def test_a_network_without_the_setting_keeps_its_options(
    voices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_training(settings(PLAIN), RunPaths(str(voices), str(tmp_path)))
    model = read_model(tmp_path)
    assert model.options == PLAIN and "merged_pairs" not in model.notes
    told = capsys.readouterr().err
    assert "LoRA" not in told and "of them learn" not in told


def test_it_extracts_as_any_other(exp: Path, voices: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["extract", str(exp), str(voices), str(tmp_path / "emb")])
    assert done.exit_code == 0, done.output
    table = read_embeddings(str(tmp_path / "emb"))
    assert table.matrix.shape == (30, 8)
    assert table.info is not None and table.info.model_hash == load_model(exp).info.model_hash


@pytest.mark.slow
def test_it_is_exported_as_any_other(exp: Path, tmp_path: Path) -> None:
    for package in PACKAGES:
        pytest.importorskip(package)
    done = CliRunner().invoke(app, ["export", str(exp), str(tmp_path / "model.onnx")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "model.onnx").stat().st_size > 0


@pytest.mark.parametrize("part", ["", "final.pt", "state.pt", "average.pt"])
def test_a_joint_stage_begins_where_it_ended(exp: Path, part: str) -> None:
    if part == "average.pt":
        save_model(exp / part, average_models([exp / "epoch-001.pt"]))
    learner, told = started(PLAIN, exp / part)
    assert_close(embed(learner.encoder), embed(with_pairs(exp)))
    assert "LoRA of 4 layers merged" in told and "head: 6 of 6 classes" in told
    assert all(parameter.requires_grad for parameter in learner.encoder.parameters())


def test_its_network_goes_on_without_pairs(exp: Path) -> None:
    for source in (exp, exp / "state.pt"):
        assert collect_settings(init=str(source)).values["model_options"] == PLAIN


def test_what_is_inherited_has_pairs_unless_told(exp: Path) -> None:
    inherit = ["init.inherit=true"]
    options = collect_settings(init=str(exp), overrides=inherit).values["model_options"]
    assert options["lora"]["rank"] == 4
    none = [*inherit, "model_options.lora.rank=0"]
    options = collect_settings(init=str(exp), overrides=none).values["model_options"]
    learner, told = started(options, exp)
    assert told.count("LoRA") == 1
    assert torch.equal(embed(learner.encoder), embed(load_model(exp).encoder))


def test_pairs_restart_on_merged_weights(exp: Path) -> None:
    learner, told = started(LORA, exp, engine={**ENGINE, "ema_decay": 0.9})
    assert "LoRA of 4 layers merged, LoRA of 4 layers begins at zero" in told
    wanted = embed(load_model(exp).encoder)
    assert torch.equal(embed(learner.encoder), wanted)
    assert torch.equal(embed(learner.result), wanted)


def test_pairs_begin_on_a_bare_front_end(tmp_path: Path, exp: Path) -> None:
    model = read_model(exp)
    encoder = build_model(
        NAME, **{**PLAIN, "backend": "mean", "backend_options": {}, "embedding_dim": 32}
    )
    bare = type(model)(NAME, {}, model.frontend, dict(encoder.state_dict()))
    save_model(tmp_path / "bare.pt", bare)
    learner, told = started(LORA, tmp_path / "bare.pt")
    assert "front-end loaded" in told and "LoRA of 4 layers begins at zero" in told
    feats = torch.randn(2, 60, 80)
    with torch.inference_mode():
        states = encoder.eval().ssl(feats), learner.encoder.eval().ssl(feats)
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))


def test_the_mean_of_the_weights_is_merged(voices: Path, tmp_path: Path) -> None:
    chosen = settings(LORA, engine={**ENGINE, "ema_decay": 0.9})
    run_training(chosen, RunPaths(str(voices), str(tmp_path)))
    encoder = build_model(NAME, **LORA)
    encoder.load_state_dict(load_state(tmp_path / "state.pt").weight_mean)
    assert_close(embed(load_model(tmp_path).encoder), embed(encoder))


def test_resuming_gives_the_same_bits(
    exp: Path, voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer._train_step

    def fail_late(trainer: Trainer, batch: Any) -> None:
        if trainer.step == 2:
            raise KeyboardInterrupt
        step(trainer, batch)

    monkeypatch.setattr(Trainer, "_train_step", fail_late)
    stopped = RunPaths(str(voices), str(tmp_path / "stopped"))
    with pytest.raises(KeyboardInterrupt):
        run_training(settings(LORA), stopped)
    monkeypatch.setattr(Trainer, "_train_step", step)
    assert run_training(settings(LORA), stopped, resume=True).steps == 3
    for read in (lambda of: read_model(of).weights, lambda of: load_state(of / "state.pt").encoder):
        one, other = read(exp), read(tmp_path / "stopped")
        assert one.keys() == other.keys() and all(one[key].equal(other[key]) for key in one)


def test_recomputed_layers_give_the_same_gradients() -> None:
    encoder = build_model(NAME, **LORA).train()
    for key, value in encoder.state_dict().items():
        if is_pair(key):
            value.normal_(0.0, 0.1)
    feats = torch.randn(3, 60, 80)

    def gradients() -> dict[str, Tensor]:
        torch.manual_seed(1)  # dropout
        encoder.zero_grad()
        encoder(feats).square().sum().backward()
        return {key: p.grad.clone() for key, p in encoder.named_parameters() if p.grad is not None}

    plain = gradients()
    recompute_blocks(encoder)
    again = gradients()
    assert plain.keys() == again.keys() and sum(map(is_pair, plain)) == 8
    for key, value in plain.items():
        torch.testing.assert_close(again[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("engine", [{"precision": "bf16"}, {"recompute": True}])
def test_it_trains_in_other_ways(
    engine: dict[str, Any], voices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = settings(LORA, engine={**ENGINE, **engine})
    assert run_training(chosen, RunPaths(str(voices), str(tmp_path))).steps == 3
    assert embed(load_model(tmp_path).encoder).isfinite().all()
    told = " ".join(capsys.readouterr().err.split())
    assert "of them learn" in told and "LoRA pairs on 4 layers: model files hold the merged" in told


@pytest.mark.slow
def test_two_processes_train_pairs(voices: Path, tmp_path: Path) -> None:
    options = ", ".join(
        f"{key} = {value}" for key, value in PLAIN.items() if key != "backend_options"
    )
    words = (
        f"model_options={{ {options}, backend_options = {{ adapter_dim = 8 }}, "
        "lora = { rank = 4, alpha = 8.0 } }",
        "batch_size=5", "num_epochs=1", "data.chunk_seconds=0.6", "data.num_workers=0",
        "schedule.lr=0.01", "optim.name=adamw",
    )  # fmt: skip
    line = [
        sys.executable, "-m", "sv_cli", "train", "--data", str(voices), "--exp-dir", str(tmp_path),
        "--model", NAME, "--num-procs", "2", *(x for word in words for x in ("--set", word)),
    ]  # fmt: skip
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_close(embed(load_model(tmp_path).encoder), embed(with_pairs(tmp_path)))
