"""VoxCeleb2: m4a through ffmpeg, sets by table or folder, genders and languages."""

import shutil
from pathlib import Path

import fake_corpora
import pytest

from sv_cli.audio.read import read_waveform
from sv_cli.corpora.corpus import Job
from sv_cli.corpora.voxceleb2 import Voxceleb2Settings, prepare_voxceleb2
from sv_cli.errors import TableError
from sv_cli.tables.datadir.directory import DataDir, validate


def prepare(source: Path, out: Path, **settings: object):
    return prepare_voxceleb2(Job(source, out, 2), Voxceleb2Settings(**settings))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    fake_corpora.voxceleb(tmp_path / "voxceleb")
    return tmp_path / "voxceleb"


def test_only_speakers_of_voxceleb2_are_taken(tree: Path, tmp_path: Path) -> None:
    result = prepare(tree, tmp_path / "out")
    assert (result.done, result.skipped) == (4, 0)
    data = DataDir.load(tmp_path / "out/dev", extra=True)
    assert data.speakers == ["id00012", "id00015"]
    assert data.extra["spk2gender"] == {"id00012": "m", "id00015": "f"}
    assert not validate(tmp_path / "out/dev", check_files=True)


def test_the_table_tells_the_set_and_the_folder_where_there_is_none(
    tree: Path, tmp_path: Path, capsys
) -> None:
    header = "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set "
    fake_corpora.write(tree / "vox2_meta.csv", [header, "id00012 ,n1 ,m ,test "])
    result = prepare(tree, tmp_path / "by-table")
    assert sorted(path.name for path in result.directories) == ["dev", "test"]
    assert DataDir.load(tmp_path / "by-table/test").speakers == ["id00012"]
    assert "1 speakers lie in the folder of the other set" in capsys.readouterr().err
    (tree / "vox2_meta.csv").unlink()
    result = prepare(tree / "vox2/dev/wav", tmp_path / "by-folder")
    assert [path.name for path in result.directories] == ["dev"]
    assert "taken for dev" not in capsys.readouterr().err


def test_a_guessed_set_is_said(tree: Path, tmp_path: Path, capsys) -> None:
    (tree / "vox2/dev/wav").rename(tmp_path / "flat")
    prepare(tmp_path / "flat", tmp_path / "out")
    assert "2 speakers are taken for dev" in capsys.readouterr().err


def test_languages_of_clips(tree: Path, tmp_path: Path) -> None:
    rows = ["id00012/21Uxsk56VDQ/00001.m4a,English", "id00015/21Uxsk56VDQ/00002.wav,Old Norse"]
    fake_corpora.write(tree / "lang_vox2_final.csv", rows)
    prepare(tree, tmp_path / "out")
    assert (tmp_path / "out/dev/utt2lang").read_text() == (
        "id00012-21Uxsk56VDQ-00001 English\nid00015-21Uxsk56VDQ-00002 Old_Norse\n"
    )
    fake_corpora.write(tree / "lang_vox2_final.csv", ["no comma"])
    with pytest.raises(TableError, match=r"lang_vox2_final\.csv:1`: no comma"):
        prepare(tree, tmp_path / "out2")


def test_a_recording_in_two_formats_is_taken_once(tree: Path, tmp_path: Path, capsys) -> None:
    fake_corpora.tone(tree / "vox2/dev/flac/id00012/21Uxsk56VDQ/00001.flac")
    assert prepare(tree, tmp_path / "out").done == 4
    assert "1 recordings stand there twice" in capsys.readouterr().err
    assert ".flac" not in (tmp_path / "out/dev/wav.scp").read_text()


def test_the_shared_layout(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/layouts/voxceleb"
    result = prepare(source, tmp_path / "out")
    assert (result.done, result.skipped) == (23, 0)
    assert not validate(tmp_path / "out/dev", check_files=True)


def test_m4a_is_read_by_ffmpeg_and_measured_without_it(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/layouts/voxceleb/vox2/dev/aac"
    result = prepare(source, tmp_path / "out")
    assert (result.done, result.skipped) == (23, 0)
    assert not validate(tmp_path / "out/dev", check_files=True)
    data = DataDir.load(tmp_path / "out/dev")
    converted = shared / "data/layouts/voxceleb/vox2/dev/wav"
    prepare(converted, tmp_path / "wav")
    assert data.utt2dur == DataDir.load(tmp_path / "wav/dev").utt2dur
    if shutil.which("ffmpeg") is None:
        pytest.skip("lengths agree; ffmpeg is not there to decode")
    for utterance in data.recordings()[:2]:
        waveform, rate = read_waveform(utterance.rx)
        assert len(waveform) == pytest.approx(rate * data.utt2dur[utterance.utt], abs=1)
