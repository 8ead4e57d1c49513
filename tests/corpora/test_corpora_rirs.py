"""RIRS_NOISES: responses by size of room, real ones by their list, noises apart."""

from pathlib import Path

import fake_corpora
import pytest

from sv_cli.corpora.corpus import Job
from sv_cli.corpora.rirs import RirsSettings, prepare_rirs, read_rooms
from sv_cli.errors import TableError
from sv_cli.tables.datadir.directory import DataDir, validate

PARTS = {"smallroom", "mediumroom", "largeroom", "real", "isotropic", "pointsource"}


def prepare(source: Path, out: Path):
    return prepare_rirs(Job(source, out, 2), RirsSettings())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    fake_corpora.rirs(tmp_path / "RIRS_NOISES")
    return tmp_path / "RIRS_NOISES"


def test_six_kinds(tree: Path, tmp_path: Path) -> None:
    result = prepare(tree, tmp_path / "out")
    assert (result.done, result.skipped) == (6, 0)
    assert {path.name for path in result.directories} == PARTS
    for path in result.directories:
        assert not validate(path, check_files=True)
    small = DataDir.load(tmp_path / "out/smallroom", extra=True)
    assert small.extra["utt2room"] == {"smallroom-Room001-00001": "smallroom-Room001"}
    real = DataDir.load(tmp_path / "out/real", extra=True)
    assert list(real.extra["utt2room"].values()) == ["RVB2014_type1_rir_largeroom1"]
    # MUSAN has a noise of the same name.
    assert DataDir.load(tmp_path / "out/pointsource").utts == ["pointsource-noise-free-sound-0000"]


def test_without_its_list_a_name_tells_noise_from_response(tree: Path, tmp_path: Path) -> None:
    (tree / "real_rirs_isotropic_noises/rir_list").unlink()
    assert {path.name for path in prepare(tree, tmp_path / "out").directories} == PARTS


def test_a_folder_below_will_do(tree: Path, tmp_path: Path) -> None:
    assert prepare(tree.parent, tmp_path / "out").done == 6


def test_a_line_without_a_room_is_named(tmp_path: Path) -> None:
    path = fake_corpora.write(tmp_path / "rir_list", ["--rir-id 1 --room-id A a.wav", "b.wav"])
    with pytest.raises(TableError, match=r"rir_list:2`: no `--room-id ROOM`"):
        read_rooms(path)


def test_the_shared_layout(shared: Path, tmp_path: Path) -> None:
    result = prepare(shared / "data/layouts/RIRS_NOISES", tmp_path / "out")
    assert (result.done, result.skipped) == (30, 0)
    counts = {path.name: len(DataDir.load(path).utts) for path in result.directories}
    assert counts == {
        "smallroom": 6, "mediumroom": 6, "largeroom": 6, "real": 4, "isotropic": 2,
        "pointsource": 6,
    }  # fmt: skip
    for path in result.directories:
        assert not validate(path, check_files=True)
