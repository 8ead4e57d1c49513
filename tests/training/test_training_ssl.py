"""Learned front-ends from training to scores: frozen, joint, resumed, imported, exported."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_models import draw_weights
from ssl_sizes import TINY, skip_without_extras
from typer.testing import CliRunner

sys.path.append(str(Path(__file__).parents[1] / "models"))
from golden_models import fill

from sv_cli.audio.read import read_waveform
from sv_cli.checkpoints.model_file import load_model, read_model
from sv_cli.cli import app
from sv_cli.errors import SettingsError
from sv_cli.extraction.extractor import Extractor
from sv_cli.extraction.settings import ExtractSettings
from sv_cli.features.settings import FRONTENDS
from sv_cli.models.registry import build_model
from sv_cli.settings.model import build_settings
from sv_cli.tables.embeddings import read_embeddings
from sv_cli.training.recompute import recompute_blocks
from sv_cli.training.run import RunPaths, choose_frontend, run_training
from sv_cli.training.settings import TrainSettings
from sv_cli.training.trainer import Trainer

FROZEN = {**TINY["wavlm_base"], "frozen": True}
JOINT = TINY["wavlm_large"]


def settings(model: str, options: dict[str, Any], **changes: Any) -> TrainSettings:
    values = {
        "model": model,
        "model_options": options,
        "batch_size": 15,
        "num_epochs": 1,
        "data": {"chunk_seconds": 0.6, "num_workers": 0},
        "schedule": {"warmup_epochs": 0, "lr": 0.01, "final_lr": 0.001},
        "engine": {"log_every_steps": 1, "precision": "fp32"},
    }
    return build_settings(TrainSettings, {**values, **changes})


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    ("model", "options", "moves"), [("wavlm_base", FROZEN, False), ("wavlm_large", JOINT, True)]
)
def test_train_extract_score(
    model: str, options: dict[str, Any], moves: bool, voices: Path, tmp_path: Path
) -> None:
    exp, emb, scores = tmp_path / "exp", tmp_path / "emb", tmp_path / "scores"
    chosen = settings(model, options)
    result = run_training(chosen, RunPaths(str(voices), str(exp), dev_data=str(voices)))
    assert result.steps == 2 and result.best_eer is not None
    trained = read_model(exp)
    assert trained.frontend == FRONTENDS["waveform"]
    torch.manual_seed(chosen.seed)
    start = build_model(model, **options).state_dict()
    moved = {key.split(".")[0] for key, w in trained.weights.items() if not w.equal(start[key])}
    assert moved == ({"ssl", "head"} if moves else {"head"})

    run("extract", exp, voices, emb)
    table = read_embeddings(str(emb))
    assert table.info is not None and table.info.frontend == "waveform"
    assert np.isfinite(table.matrix).all() and table.matrix.std(axis=0).max() > 0
    run("score", voices / "trials", emb, emb, scores)
    assert len(scores.read_text().splitlines()) == len((voices / "trials").read_text().splitlines())


def test_resuming_gives_the_same_bits(
    voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = {"precision": "fp32", "save_every_steps": 1}
    chosen = settings("wavlm_base", TINY["wavlm_base"], engine=engine)
    run_training(chosen, RunPaths(str(voices), str(tmp_path / "whole")))
    step = Trainer._train_step

    def fail_late(trainer: Trainer, batch: Any) -> None:
        if trainer.step == 1:
            raise KeyboardInterrupt
        step(trainer, batch)

    monkeypatch.setattr(Trainer, "_train_step", fail_late)
    stopped = RunPaths(str(voices), str(tmp_path / "stopped"))
    with pytest.raises(KeyboardInterrupt):
        run_training(chosen, stopped)
    monkeypatch.setattr(Trainer, "_train_step", step)
    assert run_training(chosen, stopped, resume=True).steps == 2
    one, other = (read_model(tmp_path / name).weights for name in ("whole", "stopped"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_stored_features_are_refused(voices: Path, tmp_path: Path) -> None:
    run("make-fbank", voices, f"ark,scp:{tmp_path}/feats.ark,{tmp_path}/feats.scp")
    data = tmp_path / "data"
    data.mkdir()
    for name in ("utt2spk", "spk2utt", "utt2dur"):
        (data / name).write_text((voices / name).read_text())
    (data / "feats.scp").write_text((tmp_path / "feats.scp").read_text())
    with pytest.raises(SettingsError, match="takes the samples themselves"):
        run_training(settings("wavlm_base", FROZEN), RunPaths(str(data), str(tmp_path / "exp")))


def test_masks_of_samples_are_refused() -> None:
    chosen = settings("wavlm_base", FROZEN, augment={"spec": {"prob": 0.5}})
    with pytest.raises(SettingsError, match="masks frames and bins"):
        choose_frontend(chosen)


@pytest.mark.parametrize("name", TINY)
def test_recomputed_layers_give_the_same_gradients(name: str) -> None:
    skip_without_extras(name)
    encoder = draw_weights(build_model(name, **TINY[name]))
    frames = 8000 if encoder.feat_dim == 1 else 60
    feats = torch.randn(3, frames, encoder.feat_dim)

    def gradients() -> dict[str, torch.Tensor]:
        torch.manual_seed(1)  # dropout
        encoder.train().zero_grad()
        encoder(feats).square().sum().backward()
        return {key: p.grad.clone() for key, p in encoder.named_parameters() if p.grad is not None}

    plain = gradients()
    assert recompute_blocks(encoder) >= TINY[name]["num_layers"]
    again = gradients()
    assert plain.keys() == again.keys()
    for key, value in plain.items():
        torch.testing.assert_close(
            again[key], value, rtol=1e-4, atol=1e-5 * float(value.abs().max())
        )


def test_long_recordings_go_in_chunks_of_seconds(voices: Path) -> None:
    encoder = build_model("wavlm_base", **TINY["wavlm_base"]).eval()
    waveform, _ = read_waveform(str(voices.parent / "wav" / "s0-u4.wav"), sample_rate=16000)
    assert len(waveform) == 30400
    embed = lambda seconds: Extractor(  # noqa: E731
        encoder, FRONTENDS["waveform"], ExtractSettings(max_seconds=seconds, precision="fp32")
    ).embed(waveform)
    with torch.inference_mode():
        halves = encoder(torch.from_numpy(waveform).reshape(2, 15200, 1)).mean(dim=0).numpy()
        whole = encoder(torch.from_numpy(waveform)[None, :, None])[0].numpy()
    np.testing.assert_allclose(embed(1.0), halves, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(embed(2.0), whole, rtol=1e-4, atol=1e-5)


def test_import_by_command_then_extract(voices: Path, tmp_path: Path) -> None:
    golden = json.loads((Path(__file__).parents[1] / "golden" / "ssl.json").read_text())
    shapes = golden["wavlm_large"]["shapes"]
    weights = {key: torch.from_numpy(fill(key, tuple(shape))) for key, shape in shapes.items()}
    folder = tmp_path / "wavlm-large"
    folder.mkdir()
    torch.save(weights, folder / "pytorch_model.bin")
    run("import", folder, tmp_path / "wavlm.pt")
    loaded = load_model(tmp_path / "wavlm.pt")
    assert (loaded.info.model, loaded.info.embedding_dim) == ("wavlm_large", 32)
    run("extract", tmp_path / "wavlm.pt", voices, tmp_path / "emb")
    assert read_embeddings(str(tmp_path / "emb")).matrix.shape == (30, 32)


def test_models_describes_it() -> None:
    told = run("models", "wavlm_large")
    assert "324059481" in told.replace(",", "") and "waveform" in told and "2110.13900" in told
