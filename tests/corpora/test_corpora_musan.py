"""MUSAN: three kinds, each with what its annotations say."""

from pathlib import Path

import fake_corpora
import pytest

from sv_cli.corpora.corpus import Job
from sv_cli.corpora.musan import MusanSettings, prepare_musan
from sv_cli.errors import SettingsError
from sv_cli.tables.datadir.directory import DataDir, validate


def prepare(source: Path, out: Path, **settings: object):
    return prepare_musan(Job(source, out, 2), MusanSettings(**settings))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    fake_corpora.musan(tmp_path / "musan")
    return tmp_path / "musan"


def test_each_kind_has_its_directory(tree: Path, tmp_path: Path) -> None:
    result = prepare(tree, tmp_path / "out")
    assert (result.done, result.skipped) == (8, 0)
    assert sorted(path.name for path in result.directories) == ["music", "noise", "speech"]
    for path in result.directories:
        assert not validate(path, check_files=True)
    music, noise, speech = (DataDir.load(path, extra=True) for path in sorted(result.directories))
    assert music.extra["utt2genre"] == {"music-fma-0000": "rock,pop"}
    assert music.extra["utt2vocals"] == {"music-fma-0000": "N"}
    assert speech.extra["spk2gender"] == {"speech-librivox-0000": "m"}
    assert speech.extra["utt2lang"] == {"speech-librivox-0000": "english"}
    assert sorted(set(noise.extra["utt2collection"].values())) == ["free-sound", "sound-bible"]
    assert noise.utt2spk == {utt: utt for utt in noise.utts}


def test_chosen_collections(tree: Path, tmp_path: Path) -> None:
    result = prepare(tree, tmp_path / "out", collections="free-sound, fma")
    assert (result.done, len(result.directories)) == (4, 2)
    with pytest.raises(SettingsError, match="no `freesound`; there are `fma`, `free-sound`"):
        prepare(tree, tmp_path / "out2", collections="freesound")


def test_a_single_kind_will_do(tree: Path, tmp_path: Path) -> None:
    (tree / "music").rename(tmp_path / "elsewhere")
    (tree / "speech").rename(tmp_path / "elsewhere2")
    assert [p.name for p in prepare(tree, tmp_path / "out").directories] == ["noise"]


def test_the_shared_layout(shared: Path, tmp_path: Path) -> None:
    result = prepare(shared / "data/layouts/musan", tmp_path / "out")
    assert (result.done, result.skipped) == (31, 0)
    counts = {path.name: len(DataDir.load(path).utts) for path in result.directories}
    assert counts == {"noise": 12, "music": 11, "speech": 8}
    for path in result.directories:
        assert not validate(path, check_files=True)
