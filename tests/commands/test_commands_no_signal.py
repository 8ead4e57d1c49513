"""Recordings without a usable signal: no command decides on them, and each says why."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from sv_cli import load_model
from sv_cli.checkpoints.model_file import ModelFile, save_model
from sv_cli.cli import app
from sv_cli.errors import AudioError
from sv_cli.extraction.settings import ExtractSettings
from sv_cli.features.settings import FRONTENDS
from sv_cli.models.registry import build_model
from sv_cli.tables.embeddings import read_embeddings

RATE = 16000
SIZES = {"hidden_dim": 32, "stats_dim": 48, "embedding_dim": 16}
VOICE = (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
BAD = {
    "zero": (np.zeros(RATE, np.float32), "digital silence"),
    "dc": (np.full(RATE, 0.2, np.float32), "constant level"),
    "quiet": (VOICE * np.float32(1e-3), "too quiet"),
    "brief": (VOICE[: RATE // 40], "too little speech"),
    "stereo": (np.stack([0 * VOICE, VOICE], axis=1), "digital silence"),
    "square": (np.sign(VOICE), "clipped"),
}


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model, and a recording of each kind with its data directory."""
    torch.manual_seed(0)
    weights = dict(build_model("xvector", **SIZES).state_dict())
    save_model(tmp_path / "model.pt", ModelFile("xvector", SIZES, FRONTENDS["wespeaker"], weights))
    sounds = {"good": VOICE, "other": VOICE[::-1], **{key: one[0] for key, one in BAD.items()}}
    for key, samples in sounds.items():
        soundfile.write(tmp_path / f"{key}.wav", samples, RATE, subtype="FLOAT")
    monkeypatch.chdir(tmp_path)
    for name, keys in (("data", sorted(sounds)), ("good_data", ["good", "other"])):
        Path(name).mkdir()
        Path(name, "wav.scp").write_text("".join(f"{key} {key}.wav\n" for key in keys))
        for table in ("utt2spk", "spk2utt"):
            Path(name, table).write_text("".join(f"{key} {key}\n" for key in keys))
    return tmp_path


@pytest.mark.parametrize("key", BAD)
@pytest.mark.parametrize("is_enrolled", [True, False])
def test_verify_refuses_either_side(folder: Path, key: str, is_enrolled: bool) -> None:
    pair = (f"{key}.wav", "good.wav") if is_enrolled else ("good.wav", f"{key}.wav")
    result = run("verify", "model.pt", *pair, "--threshold", 0.9)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"`{key}.wav`: {BAD[key][1]}" in result.stderr


def test_verify_refuses_two_recordings_without_a_signal(folder: Path) -> None:
    result = run("verify", "model.pt", "zero.wav", "dc.wav", "--threshold", 0.9)
    assert (result.exit_code, result.stdout) == (1, "")


def test_extract_skips_and_counts_them(folder: Path) -> None:
    result = run("extract", "model.pt", "data", "emb", "--precision", "fp32")
    assert result.exit_code == 3
    for key, (_, reason) in BAD.items():
        assert f"skipped `{key}`: {reason}" in result.stderr
    found = read_embeddings("emb")
    assert found.ids == ["good", "other"]
    alone = run("extract", "model.pt", "good_data", "alone", "--precision", "fp32")
    assert alone.exit_code == 0
    assert Path("alone/xvector.ark").read_bytes() == Path("emb/xvector.ark").read_bytes()


def test_extract_takes_the_limits_from_the_user(folder: Path) -> None:
    limits = ["--min-speech", 0, "--min-level", -150, "--max-clipped", 1]
    result = run("extract", "model.pt", "data", "emb", "--precision", "fp32", *limits)
    assert result.exit_code == 3
    assert read_embeddings("emb").ids == ["brief", "good", "other", "quiet", "square"]
    result = run("extract", "model.pt", "data", "strict", "--min-speech", 2)
    assert result.exit_code == 1
    assert not Path("strict/xvector.scp").exists()


def test_identify_lists_no_speaker_for_them(folder: Path) -> None:
    result = run("identify", "model.pt", "good_data", "data", "--threshold", -1)
    assert result.exit_code == 3
    assert {line.split()[0] for line in result.stdout.splitlines()} == {"good", "other"}
    for key, (_, reason) in BAD.items():
        assert f"skipped `{key}`: {reason}" in result.stderr
    result = run("identify", "model.pt", "data", "good_data", "--threshold", -1)
    assert (result.exit_code, result.stdout) == (1, "")


@pytest.mark.parametrize("key", BAD)
def test_the_python_api_refuses_them(folder: Path, key: str) -> None:
    model = load_model("model.pt")
    samples, reason = BAD[key]
    with pytest.raises(AudioError, match=f"`{key}.wav`: {reason}"):
        model.embed_file(f"{key}.wav")
    with pytest.raises(AudioError, match=f"^{reason}"):
        model.embed(samples[:, 0] if samples.ndim == 2 else samples, RATE)


OWN = ("--window-type", "hamming")  # as the front-end of the model


def test_features_are_not_checked(folder: Path) -> None:
    shutil.rmtree("data")
    Path("zero.scp").write_text("zero zero.wav\n")
    made = run("make-fbank", "scp:zero.scp", "ark,scp:feats.ark,feats.scp", *OWN)
    assert made.exit_code == 0, made.stderr
    assert run("extract", "model.pt", "feats.scp", "emb", "--precision", "fp32").exit_code == 0


def test_limits_at_their_defaults_are_no_part_of_the_identity() -> None:
    plain = ExtractSettings().identity()
    assert not {"min_speech", "min_level", "max_clipped"} & plain.keys()
    assert ExtractSettings(min_speech=1.0).identity() == {**plain, "min_speech": 1.0}
