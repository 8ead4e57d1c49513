"""AISHELL-1: ids with the speaker in front, genders, no shared speakers."""

from pathlib import Path

import fake_corpora
import pytest

from sv_cli.corpora.aishell import AishellSettings, prepare_aishell
from sv_cli.corpora.corpus import Job
from sv_cli.errors import TableError
from sv_cli.tables.datadir.directory import DataDir, validate


def prepare(source: Path, out: Path, **settings: object):
    return prepare_aishell(Job(source, out, 2), AishellSettings(**settings))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    fake_corpora.aishell(tmp_path / "aishell")
    return tmp_path / "aishell"


@pytest.mark.parametrize("below", [".", "data_aishell"])
def test_parts(tree: Path, tmp_path: Path, below: str) -> None:
    result = prepare(tree / below, tmp_path / "out")
    assert (result.done, result.skipped) == (12, 0)
    for path in result.directories:
        assert not validate(path, check_files=True)
    data = DataDir.load(tmp_path / "out/train", extra=True)
    assert data.utts[0] == "S0002-BAC009S0002W0122"
    assert data.extra["spk2gender"] == {"S0002": "f", "S0003": "m"}
    assert not (tmp_path / "out/test/spk2gender").exists()


def test_trials_are_drawn_for_dev_and_test(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "out", trials=4)
    drawn = sorted(path.parent.name for path in (tmp_path / "out").glob("*/trials"))
    assert drawn == ["dev", "test"]


def test_a_shared_speaker_is_refused(tree: Path, tmp_path: Path) -> None:
    fake_corpora.tone(tree / "data_aishell/wav/test/S0002/BAC009S0002W0199.wav")
    with pytest.raises(TableError, match="1 speakers are in `train` and in `test`: `S0002`"):
        prepare(tree, tmp_path / "out")


def test_a_recording_that_is_there_twice_is_refused(tree: Path, tmp_path: Path) -> None:
    fake_corpora.tone(tree / "copy/train/S0002/BAC009S0002W0122.wav")
    with pytest.raises(TableError, match="1 utterances are there twice: `S0002-BAC009S0002W0122`"):
        prepare(tree, tmp_path / "out")


def test_a_speaker_without_gender_names_its_line(tree: Path, tmp_path: Path) -> None:
    fake_corpora.write(tree / "speaker.info", ["0002 F", "0003 X"])
    with pytest.raises(TableError, match=r"speaker\.info:2`"):
        prepare(tree, tmp_path / "out")
