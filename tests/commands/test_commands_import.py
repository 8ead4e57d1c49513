"""`svtool import`: one line for every outcome, and nothing written unless all is well."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from drawn_models import draw_weights
from typer.testing import CliRunner

from sv_cli.checkpoints import hub
from sv_cli.checkpoints.model_file import load_model, read_model
from sv_cli.cli import app
from sv_cli.errors import CheckpointError
from sv_cli.features.fbank import fbank
from sv_cli.features.settings import FbankSettings
from sv_cli.models.registry import MODELS, build_model
from sv_cli.tables.embeddings import read_embeddings

RECIPES = Path(__file__).parents[2] / "recipes"
TOML_SIZES = "{hidden_dim=32, stats_dim=48, embedding_dim=16}"
SIZES = {"hidden_dim": 32, "stats_dim": 48, "embedding_dim": 16}


def run(*words: Any) -> Any:
    result = CliRunner().invoke(app, ["import", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    state = build_model("xvector", **SIZES).state_dict()
    path = tmp_path / "avg_model.pt"
    torch.save({**state, "projection.weight": torch.zeros(7, 16)}, path)
    return path


def test_a_model_is_written(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "xvector.pt"
    result = run(weights, out)
    assert result.exit_code == 0, result.stderr
    last = result.stderr.splitlines()[-1]
    assert "WeSpeaker xvector, embedding of 16" in last
    assert "front-end wespeaker of 80 bins" in last
    assert "classifier head of 7 rows (classes without names)" in last
    assert read_model(out).head["weight"].shape == (7, 16)
    loaded = load_model(out)
    assert loaded.info.frontend == "wespeaker"
    assert read_model(out).notes == {"imported_from": "avg_model.pt", "project": "WeSpeaker"}
    assert torch.isfinite(loaded.encoder(torch.randn(2, 40, 80))).all()


def test_into_a_directory_and_again(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exp"
    folder.mkdir()
    assert run(weights, folder).exit_code == 0
    assert load_model(folder).info.embedding_dim == 16
    again = run(weights, folder)
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    assert run(weights, folder, "--force", "--frontend", "3dspeaker").exit_code == 0
    assert load_model(folder).info.frontend == "3dspeaker"


def voices(folder: Path) -> Path:
    """Write a data directory of three speakers with two recordings each."""
    folder.mkdir()
    draw = np.random.default_rng(1)
    names = [f"s{speaker}-u{utt}" for speaker in range(3) for utt in range(2)]
    for number, name in enumerate(names):
        samples = (draw.standard_normal(12000 + 800 * number) * 3000).astype(np.int16)
        soundfile.write(folder / f"{name}.wav", samples, 16000)
    write = lambda table, lines: (folder / table).write_text("".join(f"{x}\n" for x in lines))  # noqa: E731
    write("wav.scp", [f"{name} {folder}/{name}.wav" for name in names])
    write("utt2spk", [f"{name} {name[:2]}" for name in names])
    return folder


def tune(out: Path, data: Path, recipe: str, *more: str) -> Any:
    """Fine-tune a model with a recipe for a step of each epoch, without noise."""
    values = {
        "num_epochs": 1, "batch_size": 3, "schedule.lr": 1e-9, "data.chunk_seconds": 0.5,
        "data.num_workers": 0, "data.min_speaker_seconds": 0, "data.min_seconds": 0,
        "engine.precision": "fp32", "engine.device": "cpu", "augment.prob": 0,
    }  # fmt: skip
    line = ["train", "--init", str(out), "--data", str(data), "--exp-dir", str(data / "exp")]
    line += ["--config", str(RECIPES / recipe), *more]
    for name, value in values.items():
        line += ["--set", f"{name}={value}"]
    return CliRunner().invoke(app, line)


def test_a_speaker_net_of_kaldi_features_from_its_checkpoint_to_fine_tuning(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"feat_dim": 81, "channels": 8, "embedding_dim": 16}
    encoder = draw_weights(build_model("speaker_net_resnet34_c64", **sizes))
    rows = torch.randn(27, 16, 1)  # three speakers at three speeds, three centres each
    checkpoint = tmp_path / "encoder.ckpt"
    torch.save({**encoder.state_dict(), "loss.weight": rows}, checkpoint)
    data, out = voices(tmp_path / "data"), tmp_path / "kaldi.pt"
    (tmp_path / "spk2id").write_text("s0 0\ns1 1\ns2 2\n")
    network = "speaker_net_resnet34_c64"  # of fewer channels here
    result = run(checkpoint, out, "--spk2id", tmp_path / "spk2id", "--model", network)
    assert result.exit_code == 0, result.stderr
    assert "front-end speaker-net-kaldi of 80 bins and energy" in result.stderr
    assert "taken for 80 mel bins and energy, 81 columns" in result.stderr
    assert "classifier head of 27 rows (9 classes by name)" in result.stderr

    done = CliRunner().invoke(app, ["extract", str(out), str(data), str(tmp_path / "emb")])
    assert done.exit_code == 0, done.stderr
    samples, _ = soundfile.read(data / "s1-u1.wav", dtype="int16")
    feats = fbank(torch.from_numpy(samples.astype(np.float32) / 32768.0),
                  FbankSettings(use_energy=True))  # fmt: skip
    # Column 0 is the log energy before pre-emphasis and window, at the scale of 16 bits.
    frame = samples[:400].astype(np.float64)
    energy = np.log(np.square(frame - frame.mean()).sum())
    assert feats.shape[1] == 81 and float(feats[0, 0]) == pytest.approx(energy, abs=1e-3)
    with torch.inference_mode():
        expected = encoder((feats - feats.mean(0)).unsqueeze(0))[0].numpy()
    table = read_embeddings(str(tmp_path / "emb"))
    found = table.matrix[list(table.ids).index("s1-u1")]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())

    sizes_too = ["--set", "model_options={channels=8, embedding_dim=16}"]
    done = tune(out, data, "speaker_net_voxceleb2/resnet34_c64_lm.toml", *sizes_too)
    assert done.exit_code == 0, done.output
    assert "head: 9 of 9 classes" in done.output
    tuned = read_model(data / "exp" / "final.pt")
    assert (tuned.frontend.use_energy, tuned.frontend.feat_dim) == (True, 81)
    torch.testing.assert_close(tuned.head["weight"], rows.squeeze(-1), atol=1e-5, rtol=0)


def test_large_margin_tuning_starts_from_the_head_of_wespeaker(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = build_model("xvector", **SIZES).state_dict()
    rows = torch.randn(9, 16)
    torch.save({**state, "projection.weight": rows}, tmp_path / "avg_model.pt")
    data, out = voices(tmp_path / "data"), tmp_path / "model.pt"
    (tmp_path / "spk2id").write_text("s2 2\ns0 0\nother 1\n")
    told = run(tmp_path / "avg_model.pt", out, "--spk2id", tmp_path / "spk2id", "--subcenters", "1")
    assert told.exit_code == 0, told.stderr
    done = tune(out, data, "voxceleb_v2/xvector_lm.toml", "--set", f"model_options={TOML_SIZES}")
    assert done.exit_code == 0, done.output
    assert f"head: 6 of 9 classes from `{out}` by name, 3 at random" in done.output
    head = read_model(data / "exp" / "final.pt").head["weight"]
    torch.testing.assert_close(head[[0, 2, 3, 5]], rows[[0, 2, 3, 5]], atol=1e-5, rtol=0)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploded",)


@pytest.mark.parametrize("kind", ["empty", "cut", "code", "noise", "text", "family", "own"])
def test_bad_weights_write_nothing(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = weights.read_bytes()
    if kind == "code":
        torch.save({"frame_1.conv_1d.weight": Bomb()}, weights)
    elif kind == "family":
        torch.save(torch.nn.LSTM(4, 4).state_dict(), weights)
    elif kind == "own":
        run(weights, "model.pt")
        weights.write_bytes((tmp_path / "model.pt").read_bytes())
    else:
        bad = {"empty": b"", "cut": whole[:9000], "noise": b"\x80junk" * 9, "text": b"hello\n"}
        weights.write_bytes(bad[kind])
    result = run(weights, "out.pt")
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if "error: " in line]
    assert len(errors) == 1
    assert "avg_model.pt" in errors[0]
    assert not list(tmp_path.glob("*out*"))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "needs WEIGHTS and OUT"),
        (("avg_model.pt", "out.pt", "--project", "kaldi"), "--project `kaldi` is unknown"),
        (("avg_model.pt", "out.pt", "--model", "renset34"), "did you mean `resnet34`"),
        (("avg_model.pt", "out.pt", "--frontend", "x"), "front-end `x` is not known"),
        (("hub:campplus", "out.pt"), "no such published weights"),
    ],
)
def test_wrong_usage(
    weights: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(weights.parent)
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_list_names_networks_that_exist() -> None:
    lines = [line.split("\t") for line in run("--list").stdout.splitlines()]
    assert len(lines) == len(hub.PUBLISHED) >= 16
    assert {line[2] for line in lines} <= set(MODELS)
    assert len({line[0] for line in lines}) == len(lines)


@pytest.mark.parametrize(
    "name",
    [
        "hub:iic/speech_campplus_sv_en_voxceleb_16k",
        "damo/speech_campplus_sv_en_voxceleb_16k",
        "speech_campplus_sv_en_voxceleb_16k",
    ],
)
def test_published_names(name: str) -> None:
    row = hub.find_published(name)
    assert (row.revision, row.files) == ("v1.0.2", ("campplus_voxceleb.bin",))


def test_published_weights_are_fetched(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.Published, "url", lambda row, file: (weights.parent / file).as_uri())
    (weights.parent / "config.yaml").write_text("model: XVEC\n")
    result = run("hub:wespeaker-voxceleb-resnet34", tmp_path / "out.pt")
    assert result.exit_code == 0, result.stderr
    notes = read_model(tmp_path / "out.pt").notes
    assert notes["imported_from"] == "hub:Wespeaker/wespeaker-voxceleb-resnet34@main"


def test_archives_are_unpacked(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "voxblink2_samresnet34_ft.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.write(weights, "voxblink2_samresnet34_ft/avg_model.pt")
        stream.writestr("../../escaped.txt", "outside")
    row = hub.find_published("hub:voxblink2_samresnet34_ft")
    assert row.url(row.files[0]).endswith(f"version={archive.name}")
    monkeypatch.setattr(hub.Published, "url", lambda row, file: (tmp_path / file).as_uri())
    (tmp_path / "fetched").mkdir()
    path = hub.download(row, tmp_path / "fetched")
    assert path.read_bytes() == weights.read_bytes()
    assert not list(tmp_path.rglob("escaped.txt"))
    archive.write_bytes(archive.read_bytes()[:900])
    with pytest.raises(CheckpointError, match="is a damaged archive"):
        hub.download(row, tmp_path / "fetched")


def test_a_configuration_names_the_weights(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.Published, "url", lambda row, file: (weights.parent / file).as_uri())
    row = hub.find_published("speech_eres2net_base_sv_zh-cn_cnceleb_16k")
    configuration = weights.parent / "configuration.json"
    configuration.write_text('{"model": {"pretrained_model": "avg_model.pt"}}')
    path = hub.download(row, tmp_path)
    assert (path.name, path.read_bytes()) == ("avg_model.pt", weights.read_bytes())
    for content, said in (
        ('{"model": {"pretrained_model": "../avg_model.pt"}}', "is no file name"),
        ("{}", "names no `model.pretrained_model`"),
    ):
        configuration.write_text(content)
        with pytest.raises(CheckpointError, match=said):
            hub.download(row, tmp_path)


def test_thresholds_of_model_cards() -> None:
    thresholds = {
        row.name: row.threshold for row in hub.PUBLISHED.values() if row.threshold is not None
    }
    assert thresholds == {
        "iic/speech_eres2net_sv_zh-cn_16k-common": 0.365,
        "iic/speech_eres2netv2_sv_zh-cn_16k-common": 0.365,
    }


def test_without_a_network_the_file_to_bring_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.Published, "url", lambda row, file: (tmp_path / "none").as_uri())
    result = run("hub:speech_eres2netv2_sv_zh-cn_16k-common", tmp_path / "out.pt")
    assert result.exit_code == 1
    error, hint = result.stderr.splitlines()[-2:]
    assert "cannot fetch" in error
    assert "bring `pretrained_eres2netv2.ckpt` (revision v1.0.1)" in hint
    assert "modelscope.cn/models/iic/speech_eres2netv2_sv_zh-cn_16k-common" in hint
    assert "--project 3dspeaker" in hint
    assert not (tmp_path / "out.pt").exists()
