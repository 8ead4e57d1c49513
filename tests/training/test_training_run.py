"""Runs as a user sees them: dev EER, sources of crops, workers, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from sv_cli.cli import app
from sv_cli.errors import SettingsError, TableError
from sv_cli.features.settings import FRONTENDS
from sv_cli.settings.model import build_settings
from sv_cli.training.run import RunPaths, choose_frontend, run_training
from sv_cli.training.settings import TrainSettings

SMALL = {
    "model": "ecapa_glob_c512",
    "model_options": {"channels": 32, "embedding_dim": 16},
    "batch_size": 4,
    "num_epochs": 2,
    "data": {"chunk_seconds": 0.8, "num_workers": 0},
    "schedule": {"warmup_epochs": 1, "lr": 0.01, "final_lr": 0.001},
    "loss": {"margin": 0.0},
    "engine": {"log_every_steps": 1, "precision": "fp32"},
}


def settings(**changes: object) -> TrainSettings:
    values = {**SMALL, **changes}
    return build_settings(TrainSettings, values)


def final_weights(exp: Path) -> dict[str, torch.Tensor]:
    return torch.load(exp / "final.pt", weights_only=True)["weights"]


def test_a_run_leaves_what_it_promises(voices: Path, tmp_path: Path) -> None:
    exp = tmp_path / "exp"
    result = run_training(settings(), RunPaths(str(voices), str(exp), dev_data=str(voices)))
    assert result.steps == 14 and not result.stopped
    assert result.best_eer is not None and 0 <= result.best_eer < 50
    names = {path.name for path in exp.iterdir()}
    assert {"state.pt", "best.pt", "final.pt", "epoch-002.pt", "settings.toml"} <= names
    lines = [json.loads(line) for line in (exp / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["event"] == "step"]
    assert len(losses) == 14 and sum(losses[-4:]) < sum(losses[:4])
    assert [line["dev_eer"] for line in lines if line["event"] == "validation"]


def test_reading_workers_do_not_change_the_result(voices: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        data = {"chunk_seconds": 0.8, "num_workers": workers}
        paths = RunPaths(str(voices), str(tmp_path / str(workers)))
        run_training(settings(num_epochs=1, data=data), paths)
    one, other = final_weights(tmp_path / "0"), final_weights(tmp_path / "2")
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_seeds_differ(voices: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        paths = RunPaths(str(voices), str(tmp_path / str(seed)))
        run_training(settings(num_epochs=1, seed=seed), paths)
    one, other = final_weights(tmp_path / "0"), final_weights(tmp_path / "1")
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_features_from_disk_train_as_well(voices: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in voices.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    made = CliRunner().invoke(app, ["make-fbank", str(data), "--window-type", "hamming"])
    assert made.exit_code == 0, made.output
    source = {"chunk_seconds": 0.8, "num_workers": 0, "source": "feats"}
    result = run_training(settings(data=source), RunPaths(str(data), str(tmp_path / "exp")))
    assert result.steps == 14


def test_all_problems_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        settings(model="ecapa_glob_c51", batch_size=1, schedule={"shap": "cosine", "lr": -1})
    text = str(caught.value)
    for word in ("did you mean `ecapa_glob_c512`", "`batch_size`", "did you mean `shape`", "lr"):
        assert word in text


def test_the_model_brings_its_front_end() -> None:
    assert choose_frontend(settings()) == FRONTENDS["wespeaker"]
    assert choose_frontend(settings(model="eres2net", model_options={})) == FRONTENDS["3dspeaker"]
    changed = choose_frontend(settings(frontend_options={"dither": 0.0}))
    assert changed == FRONTENDS["wespeaker"].model_copy(update={"dither": 0.0})


def test_a_front_end_of_another_size_is_refused(voices: Path, tmp_path: Path) -> None:
    wrong = settings(frontend_options={"num_mel_bins": 40})
    with pytest.raises(SettingsError, match="takes 80 features a frame, the front-end gives 40"):
        run_training(wrong, RunPaths(str(voices), str(tmp_path / "exp")))


def test_a_loss_that_is_not_finite_ends_the_run(voices: Path, tmp_path: Path) -> None:
    wild = settings(schedule={"lr": 1e20, "warmup_epochs": 0})
    exp = tmp_path / "exp"
    run = CliRunner().invoke(
        app,
        ["train", "--data", str(voices), "--exp-dir", str(exp), "--model", wild.model]
        + [f"--set={name}" for name in ("model_options={channels=32, embedding_dim=16}",
           "batch_size=4", "schedule.lr=1e20", "schedule.warmup_epochs=0", "data.num_workers=0",
           "engine.log_every_steps=1", "data.chunk_seconds=0.8")],
    )  # fmt: skip
    assert run.exit_code == 1
    assert "loss is" in run.output and "learning rate" in run.output
    assert not (exp / "final.pt").exists()


def test_dev_trials_must_be_in_the_dev_data(voices: Path, tmp_path: Path) -> None:
    trials = tmp_path / "trials"
    trials.write_text("s0-u0 s0-u1 target\ns0-u0 s9-u9 nontarget\n")
    paths = RunPaths(str(voices), str(tmp_path / "exp"), str(voices), str(trials))
    with pytest.raises(TableError, match="`s9-u9`"):
        run_training(settings(num_epochs=1), paths)
    trials.write_text("s0-u0 s0-u1 target\n")
    with pytest.raises(TableError, match="both kinds"):
        run_training(settings(num_epochs=1), paths)
    assert not (tmp_path / "exp").exists(), "told before anything is trained"


def augmented(rooms: Path, **changes: object) -> dict[str, object]:
    folders = {"musan": f"{rooms}/musan", "rir": f"{rooms}/rir"}
    return {"chain": "wespeaker", **folders, **changes}


def test_speeds_make_classes_that_the_model_file_names(
    voices: Path, rooms: Path, tmp_path: Path
) -> None:
    paths = RunPaths(str(voices), str(tmp_path / "exp"))
    result = run_training(settings(num_epochs=1, augment=augmented(rooms)), paths)
    assert result.steps == 7
    file = torch.load(tmp_path / "exp" / "final.pt", weights_only=True)
    speakers = [f"s{i}" for i in range(6)]
    assert file["speakers"] == [prefix + s for prefix in ("", "sp0.9-", "sp1.1-") for s in speakers]
    told = (tmp_path / "exp" / "log.jsonl").read_text()
    assert "NaN" not in told


def test_workers_do_not_change_an_augmented_run(voices: Path, rooms: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        data = {"chunk_seconds": 0.8, "num_workers": workers}
        chain = augmented(rooms, spec={"prob": 1.0})
        paths = RunPaths(str(voices), str(tmp_path / str(workers)))
        run_training(settings(num_epochs=1, data=data, augment=chain), paths)
    one, other = final_weights(tmp_path / "0"), final_weights(tmp_path / "2")
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_stored_features_take_masks_and_nothing_else(
    voices: Path, rooms: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in voices.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    made = CliRunner().invoke(app, ["make-fbank", str(data), "--window-type", "hamming"])
    assert made.exit_code == 0, made.output
    source = {"chunk_seconds": 0.8, "num_workers": 0, "source": "feats"}
    paths = RunPaths(str(data), str(tmp_path / "exp"))
    with pytest.raises(SettingsError, match=r"feats\.scp can only be masked"):
        run_training(settings(data=source, augment=augmented(rooms)), paths)
    with pytest.raises(SettingsError, match=r"`data\.silence_threshold`"):
        run_training(settings(data={**source, "silence_threshold": 50.0}), paths)
    masks = {"spec": {"prob": 1.0}}
    result = run_training(settings(num_epochs=1, data=source, augment=masks), paths)
    assert result.steps == 7


def test_settings_of_a_chain_are_told_with_their_origin() -> None:
    line = ["train", "--set", "augment.chain=3d-speaker", "--set", "augment.prob=0.2"]
    shown = CliRunner().invoke(app, [*line, "--show-settings"]).output
    assert "augment.prob = 0.2  # --set" in shown
    assert "augment.mix.power_floor = 1e-06  # chain 3d-speaker" in shown
    assert "augment.gain_prob = 0.0  # default" in shown
