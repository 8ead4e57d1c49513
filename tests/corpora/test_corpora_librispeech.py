"""LibriSpeech: a directory for each subset, genders, drawn trials."""

from pathlib import Path

import fake_corpora
import pytest

from sv_cli.corpora.corpus import Job
from sv_cli.corpora.librispeech import LibrispeechSettings, prepare_librispeech
from sv_cli.errors import TableError
from sv_cli.tables.datadir.directory import DataDir, validate


def prepare(source: Path, out: Path, **settings: object):
    return prepare_librispeech(Job(source, out, 2), LibrispeechSettings(**settings))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    fake_corpora.librispeech(tmp_path / "LibriSpeech")
    return tmp_path / "LibriSpeech"


@pytest.mark.parametrize("above", [False, True])
def test_subsets(tree: Path, tmp_path: Path, above: bool) -> None:
    result = prepare(tree.parent if above else tree, tmp_path / "out")
    assert (result.done, result.skipped) == (12, 0)
    for path in result.directories:
        assert not validate(path, check_files=True)
    data = DataDir.load(tmp_path / "out/train-clean-100", extra=True)
    assert data.extra["spk2gender"] == {"14": "f", "146": "m"}
    # 14 sorts before 146 with what follows it, too.
    assert data.utts[2:4] == ["14-208-0002", "146-208-0000"]
    assert not (tmp_path / "out/dev-clean/trials").exists()


def test_trials_are_drawn_for_what_is_not_trained_on(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "out", trials=6, seed=1)
    assert len((tmp_path / "out/dev-clean/trials").read_text().splitlines()) == 6
    assert not (tmp_path / "out/train-clean-100/trials").exists()


def test_a_reader_in_two_sets_is_refused(tree: Path, tmp_path: Path) -> None:
    (tree / "train-clean-100/14").rename(tree / "dev-clean/14")
    fake_corpora.tone(tree / "train-clean-100/14/208/14-208-0009.flac")
    with pytest.raises(TableError, match="1 speakers are in `train-clean-100` and in `dev-clean`"):
        prepare(tree, tmp_path / "out")


def test_a_speaker_without_gender_names_its_line(tree: Path, tmp_path: Path) -> None:
    fake_corpora.write(tree / "SPEAKERS.TXT", ["; x", "14 | F | a", "15 | train"])
    with pytest.raises(TableError, match=r"SPEAKERS\.TXT:3`"):
        prepare(tree, tmp_path / "out")
