"""VoxSRC: lists of four years, recordings under several roots, unknown speakers."""

from pathlib import Path

import fake_corpora
import pytest

from sv_cli.corpora.corpus import Job
from sv_cli.corpora.voxsrc import VoxsrcSettings, prepare_voxsrc
from sv_cli.errors import TableError
from sv_cli.tables.datadir.directory import DataDir, validate


def prepare(source: Path, out: Path, **settings: object):
    return prepare_voxsrc(Job(source, out, 2), VoxsrcSettings(**settings))


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    for name in ("voxceleb", "voxsrc2020", "voxsrc2022", "voxsrc2023"):
        fake_corpora.FAKES[name](tmp_path / "corpora" / name)
    return tmp_path / "corpora"


def test_flat_recordings_are_their_own_speakers(trees: Path, tmp_path: Path) -> None:
    result = prepare(trees / "voxsrc2023", tmp_path / "out")
    assert (result.done, result.skipped) == (4, 0)
    data = DataDir.load(tmp_path / "out")
    assert data.utt2spk == {utt: utt for utt in ("000003", "000017", "000040", "000101")}
    assert (tmp_path / "out/trials").read_text() == (
        "000003 000017 target\n000003 000040 nontarget\n000101 000017 nontarget\n"
    )
    assert not validate(tmp_path / "out", check_files=True)


def test_recordings_of_two_roots(trees: Path, tmp_path: Path) -> None:
    roots = {"voxceleb1": str(trees / "voxceleb")}
    result = prepare(trees / "voxsrc2022", tmp_path / "out", year="2022", **roots)
    assert (result.done, result.skipped) == (4, 0)
    assert (tmp_path / "out/trials").read_text() == (
        "id10001-a-B_c1xyz01-00001 id10001-a-B_c2xyz01-00002 target\n"
        "VoxSRC2022_dev-dev_00000 VoxSRC2022_dev-dev_00001 nontarget\n"
    )
    assert not validate(tmp_path / "out", check_files=True)
    with pytest.raises(TableError, match="2 recordings of 1 trials are not there"):
        prepare(trees / "voxsrc2022", tmp_path / "out2", year="2022")
    result = prepare(trees / "voxsrc2022", tmp_path / "out2", year="2022", allow_missing=True)
    assert (result.done, result.skipped) == (2, 1)


def test_the_folder_of_the_recordings_itself_will_do(trees: Path, tmp_path: Path) -> None:
    source = trees / "voxsrc2022"
    prepare(
        source / "VoxSRC2022_dev", tmp_path / "out", year="2022", lists=str(source),
        voxceleb1=str(trees / "voxceleb"),
    )  # fmt: skip
    assert "VoxSRC2022_dev-dev_00001" in DataDir.load(tmp_path / "out").utts


def test_the_corrected_list_comes_first(trees: Path, tmp_path: Path) -> None:
    source = trees / "voxsrc2022"
    fixed = ["1 VoxSRC2022_dev/dev_00000.wav VoxSRC2022_dev/dev_00001.wav"]
    fake_corpora.write(source / "voxsrc2022_dev_fixed.txt", fixed)
    prepare(source, tmp_path / "out", year="2022")
    assert (tmp_path / "out/trials").read_text().endswith("dev_00001 target\n")


def test_recordings_without_a_video_keep_their_speaker(trees: Path, tmp_path: Path) -> None:
    roots = {"voxceleb1": str(trees / "voxceleb")}
    prepare(trees / "voxsrc2020", tmp_path / "out", year="2020", **roots)
    data = DataDir.load(tmp_path / "out")
    assert data.utt2spk == {
        "id10001-a-B_c1xyz01-00001": "id10001",
        "id10001-cd-000912": "id10001",
        "id10270-cd-000001": "id10270",
    }
    assert not validate(tmp_path / "out", check_files=True)


def test_2021_is_voxceleb1_alone(trees: Path, tmp_path: Path) -> None:
    lines = ["1 id10001/a-B_c1xyz01/00001.wav id10001/a-B_c2xyz01/00002.wav"]
    fake_corpora.write(tmp_path / "lists/voxsrc2021_val.txt", lines)
    lists = str(tmp_path / "lists")
    assert prepare(trees / "voxceleb", tmp_path / "out", year="2021", lists=lists).done == 2


def test_without_a_list_it_is_asked_for_by_name(trees: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"VoxSRC 2021: no `voxsrc2021_val\.txt`") as caught:
        prepare(trees / "voxceleb", tmp_path / "out", year="2021")
    assert "data_workshop_2021/" in str(caught.value.hint)
