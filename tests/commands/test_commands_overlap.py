"""`svtool data overlap`: what is shared is named, and is a failure."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sv_cli.cli import app
from sv_cli.tables.datadir.directory import DataDir


def overlap(*arguments: object):
    return CliRunner().invoke(app, ["data", "overlap", *map(str, arguments)])


def write(path: Path, utt2spk: dict[str, str], wav: dict[str, str]) -> Path:
    DataDir.from_tables(wav=wav, utt2spk=utt2spk).write(path)
    return path


@pytest.fixture
def train(tmp_path: Path) -> Path:
    wav = {"a-1": "x/a1.wav", "b-1": "touch b1 |"}
    return write(tmp_path / "train", {"a-1": "a", "b-1": "b"}, wav)


def test_nothing_shared_is_status_0(train: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "eval", {"c-1": "c"}, {"c-1": "x/c1.wav"})
    result = overlap(train, other)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines()[-1].endswith("share nothing")


def test_each_kind_is_named(train: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    wav = {"a-2": "x/a2.wav", "d-1": f"{tmp_path}/y/../x/a1.wav", "e-1": "touch b1 |"}
    other = write(tmp_path / "eval", {"a-2": "a", "d-1": "d", "e-1": "e"}, wav)
    result = overlap(train, other)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "speaker a",
        f"recording {tmp_path}/x/a1.wav",
        "recording touch b1 |",
    ]
    assert "share 1 speakers, 0 utterances and 2 recordings" in result.stderr


def test_a_directory_shares_all_with_itself_and_can_be_cleaned(train: Path, tmp_path: Path) -> None:
    assert len(overlap(train, train).stdout.splitlines()) == 6
    other = write(tmp_path / "eval", {"a-2": "a", "c-1": "c"}, {"a-2": "p", "c-1": "q"})
    speakers = [
        line.split()[1]
        for line in overlap(train, other).stdout.splitlines()
        if line.startswith("speaker ")
    ]
    listed = tmp_path / "speakers"
    listed.write_text("".join(f"{spk}\n" for spk in speakers))
    command = ["data", "filter", train, tmp_path / "clean", "--speakers", listed, "--exclude"]
    assert CliRunner().invoke(app, list(map(str, command))).exit_code == 0
    assert overlap(tmp_path / "clean", other).exit_code == 0


def test_a_missing_directory_is_one_line(train: Path, tmp_path: Path) -> None:
    result = overlap(train, tmp_path / "nothing")
    assert result.exit_code == 1
    assert "no such data directory" in result.stderr
