"""Common Voice: tables with stray quotation marks, short ids of clients, languages."""

from pathlib import Path

import fake_corpora
import pytest

from sv_cli.corpora.common_voice import (
    CommonVoiceSettings,
    prepare_common_voice,
    read_clips,
    short_ids,
)
from sv_cli.corpora.corpus import Job
from sv_cli.errors import SettingsError, TableError
from sv_cli.tables.datadir.directory import DataDir, validate


def prepare(source: Path, out: Path, **settings: object):
    return prepare_common_voice(Job(source, out, 2), CommonVoiceSettings(**settings))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    fake_corpora.common_voice(tmp_path / "ka")
    return tmp_path / "ka"


def test_a_directory_for_each_table(tree: Path, tmp_path: Path) -> None:
    result = prepare(tree, tmp_path / "out")
    assert (result.done, result.skipped) == (12, 0)
    for path in result.directories:
        assert not validate(path, check_files=True)
    data = DataDir.load(tmp_path / "out/train", extra=True)
    assert data.speakers == ["00" * 8, "01" * 8]
    assert data.utts[0] == f"{'00' * 8}-common_voice_ka_000"
    assert data.extra["spk2gender"] == {"00" * 8: "m", "01" * 8: "f"}
    assert set(data.extra["utt2lang"].values()) == {"ka"}
    assert set(data.extra["utt2age"].values()) == {"twenties"}


def test_a_csv_beside_its_clips(tree: Path, tmp_path: Path) -> None:
    (tree / "clips").rename(tmp_path / "flat")
    rows = ["client_id,path", "abc,common_voice_ka_000.wav", "def,common_voice_ka_010.wav"]
    fake_corpora.write(tmp_path / "flat/mine.csv", rows)
    prepare(tmp_path / "flat", tmp_path / "out", tables="mine")
    data = DataDir.load(tmp_path / "out/mine")
    assert data.speakers == ["abc", "def"]
    assert not validate(tmp_path / "out/mine", check_files=True)


def test_clients_whose_first_digits_agree_keep_their_whole_id() -> None:
    clients = ["a" * 20, "a" * 19 + "b", "c" * 20]
    assert short_ids(clients) == {client: client for client in clients}
    assert short_ids(clients[1:]) == {"a" * 19 + "b": "a" * 16, "c" * 20: "c" * 16}


def test_speakers_of_train_in_another_table_are_said(tree: Path, tmp_path: Path, capsys) -> None:
    lines = (tree / "train.tsv").read_text().splitlines()
    fake_corpora.write(tree / "dev.tsv", lines)
    result = prepare(tree, tmp_path / "out")
    assert result.done == 8
    assert "2 speakers are in `train` and in `dev`" in capsys.readouterr().err


def test_missing_clips_are_skipped(tree: Path, tmp_path: Path) -> None:
    (tree / "clips/common_voice_ka_000.wav").unlink()
    result = prepare(tree, tmp_path / "out")
    assert (result.done, result.skipped) == (11, 1)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["client_id\tsentence"], r"x\.tsv:1`: no column `path`"),
        (["client_id\tpath", "a\tb\tc"], r"x\.tsv:2`: 3 columns, the header has 2"),
        (["client_id\tpath", "a\tb.mp3", "a"], r"x\.tsv:3`"),
    ],
)
def test_malformed_tables_name_their_line(tmp_path: Path, lines: list[str], message: str) -> None:
    path = fake_corpora.write(tmp_path / "x.tsv", lines)
    with pytest.raises(TableError, match=message):
        read_clips(path)


def test_a_wrong_table_shows_those_there_are(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"validated\.tsv`: no such table") as caught:
        prepare(tree, tmp_path / "out", tables="validated")
    assert "`dev`, `test`, `train`" in str(caught.value.hint)
    with pytest.raises(SettingsError, match="expected `name,name`"):
        prepare(tree, tmp_path / "out", tables="dev,dev")
