"""`svtool data new`: every template comes out valid, with audio that can be read."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sv_cli.audio.info import audio_info
from sv_cli.cli import app
from sv_cli.tables.datadir.directory import DataDir, validate
from sv_cli.tables.datadir.templates import template_folder, template_names


def new(*arguments: object):
    return CliRunner().invoke(app, ["data", "new", *map(str, arguments)])


@pytest.mark.parametrize("name", ["cohort", "eval", "noise", "rirs", "train"])
def test_a_template_is_copied_whole(name: str, tmp_path: Path) -> None:
    assert name in template_names()
    result = new(name, tmp_path / "mine")
    assert result.exit_code == 0, result.stderr
    assert not validate(tmp_path / "mine", check_files=True)
    data = DataDir.load(tmp_path / "mine")
    for rx in data.wav.values():
        assert audio_info(rx).num_samples > 0
        assert Path(rx).is_relative_to(tmp_path)
    source = template_folder() / name
    copied = {path.relative_to(tmp_path / "mine") for path in (tmp_path / "mine").rglob("*")}
    assert copied == {path.relative_to(source) for path in source.rglob("*")}
    for table in ("utt2spk", "spk2utt", "segments", "trials", "utt2dur"):
        if (source / table).exists():
            assert (tmp_path / "mine" / table).read_bytes() == (source / table).read_bytes()


def test_what_stands_there_is_kept(tmp_path: Path) -> None:
    assert new("train", tmp_path / "mine").exit_code == 0
    result = new("eval", tmp_path / "mine")
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert new("eval", tmp_path / "mine", "--force").exit_code == 0


def test_a_wrong_name_shows_those_there_are(tmp_path: Path) -> None:
    result = new("test", tmp_path / "mine")
    assert result.exit_code == 1
    assert "`cohort`, `eval`, `noise`, `rirs`, `train`" in result.stderr
    assert not (tmp_path / "mine").exists()
