"""A folder of recordings becomes a valid data directory, whatever lies in it."""

import json
from pathlib import Path

import pytest

from sv_cli.corpora.corpus import Job
from sv_cli.corpora.folder import FolderSettings, compile_pattern, prepare_folder
from sv_cli.errors import SettingsError, SvError, TableError
from sv_cli.tables.datadir.directory import DataDir, validate

LINES = list[list[str]]


def table(path: Path) -> LINES:
    return [line.split(" ") for line in path.read_text(encoding="utf-8").splitlines()]


def prepare(tmp_path: Path, force: bool = False, root: Path | None = None, **settings: object):
    job = Job(tmp_path / "recordings", tmp_path / "out", 2, force, root)
    return prepare_folder(job, FolderSettings(**settings))


def test_one_folder_a_speaker_at_any_depth(tmp_path: Path, record) -> None:
    for name in ("id2/b.wav", "id1/video x/00001.flac", "id1/video y/00001.ogg", "id10/a.wav"):
        record(name, seconds=0.25)
    result = prepare(tmp_path)
    assert (result.done, result.skipped) == (4, 0)
    out = tmp_path / "out"
    assert table(out / "utt2spk") == [
        ["id1-video_x-00001", "id1"],
        ["id1-video_y-00001", "id1"],
        ["id10-a", "id10"],
        ["id2-b", "id2"],
    ]
    assert table(out / "spk2utt")[0] == ["id1", "id1-video_x-00001", "id1-video_y-00001"]
    assert {row[1] for row in table(out / "utt2dur")} <= {"0.25", "0.250"}
    paths = (out / "wav.scp").read_text().splitlines()
    assert paths[0] == f"id1-video_x-00001 {tmp_path}/recordings/id1/video x/00001.flac"
    assert not validate(out)
    assert json.loads((out / ".done").read_text()) == {"utterances": 4, "speakers": 3}


def test_broken_and_empty_files_are_named_and_counted(tmp_path: Path, record, capsys) -> None:
    record("s1/good.wav")
    record("s2/empty.wav", seconds=0.0)
    (tmp_path / "recordings/s2/broken.wav").write_bytes(b"RIFF but no more")
    (tmp_path / "recordings/s2/notes.txt").write_text("hello")
    (tmp_path / "recordings/s2/._ghost.wav").write_bytes(b"\0\5\x16\7")
    record("loose.wav")
    result = prepare(tmp_path)
    assert (result.done, result.skipped) == (1, 2)
    said = capsys.readouterr().err
    assert "broken.wav" in said
    assert "empty.wav" in said
    assert "1 files are no audio by their names" in said
    assert "no speaker's folder, left out: `loose.wav`" in said
    assert DataDir.load(tmp_path / "out").utts == ["s1-good"]


def test_a_pattern_tells_the_fields(tmp_path: Path, record) -> None:
    record("2024/anna_phone_17.wav")
    record("2024/anna_room_17.wav")
    record("2024/bob_phone_18.wav")
    record("other/readme_1.wav")
    prepare(tmp_path, pattern="2024/{spk}_{channel}_{utt}.wav")
    out = tmp_path / "out"
    assert [row[0] for row in table(out / "utt2spk")] == [
        "anna-phone-17",
        "anna-room-17",
        "bob-phone-18",
    ]
    assert table(out / "utt2channel")[1] == ["anna-room-17", "room"]
    assert not validate(out)


def test_a_pattern_that_fits_nothing_shows_what_is_there(tmp_path: Path, record) -> None:
    record("s1/x.wav")
    with pytest.raises(TableError, match="none of 1 files fits") as caught:
        prepare(tmp_path, pattern="{spk}_{utt}.wav")
    assert "`s1/x.wav`" in str(caught.value.hint)


@pytest.mark.parametrize("pattern", ["{utt}.wav", "{spk}/{spk}.wav"])
def test_a_pattern_needs_the_speaker_once(pattern: str) -> None:
    with pytest.raises(SettingsError, match=r"needs `\{spk\}`"):
        compile_pattern(pattern)


def test_a_star_stays_within_a_name() -> None:
    expression = compile_pattern("{spk}/*/{utt}.w*v")
    assert expression.fullmatch("a/b/c.wav")
    assert not expression.fullmatch("a/b/b/c.wav")
    assert not expression.fullmatch("a/b/c.flac")


def test_parts_have_disjoint_speakers_and_trials(tmp_path: Path, record) -> None:
    for spk in range(5):
        for utt in range(3):
            record(f"s{spk}/{utt}.wav", seconds=0.02)
    result = prepare(tmp_path, split="train=0.6,dev=0.4", trials=10, seed=3)
    assert [path.name for path in result.directories] == ["train", "dev"]
    speakers = [{row[0] for row in table(path / "spk2utt")} for path in result.directories]
    assert [len(part) for part in speakers] == [3, 2]
    assert not speakers[0] & speakers[1]
    for path in result.directories:
        assert not validate(path)
        rows = table(path / "trials")
        assert len(rows) == 10
        utts = {row[0] for row in table(path / "utt2spk")}
        assert {row[0] for row in rows} | {row[1] for row in rows} <= utts


@pytest.mark.parametrize("split", ["train", "a=0.5,a=0.5", "a=0.5,b=0.6", "../x=1"])
def test_a_wrong_split_is_a_usage_error(tmp_path: Path, record, split: str) -> None:
    record("s1/x.wav")
    with pytest.raises(SettingsError, match="--split"):
        prepare(tmp_path, split=split)


def test_what_stands_there_is_kept_unless_forced(tmp_path: Path, record) -> None:
    record("s1/x.wav")
    prepare(tmp_path)
    with pytest.raises(SvError, match="exists already"):
        prepare(tmp_path)
    record("s1/y.wav")
    assert prepare(tmp_path, force=True).done == 2


def test_paths_can_be_relative_to_an_audio_root(tmp_path: Path, record) -> None:
    record("s1/x.wav")
    prepare(tmp_path, root=tmp_path)
    assert (tmp_path / "out/wav.scp").read_text() == "s1-x recordings/s1/x.wav\n"
    with pytest.raises(TableError, match="does not lie in"):
        prepare(tmp_path, force=True, root=tmp_path / "elsewhere")


def test_links_are_followed_but_not_in_circles(tmp_path: Path, record) -> None:
    record("s1/x.wav")
    (tmp_path / "recordings/s1/again").symlink_to(tmp_path / "recordings")
    (tmp_path / "recordings/s2").symlink_to(tmp_path / "recordings/s1")
    assert prepare(tmp_path).done >= 1


def test_nothing_to_prepare_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such folder"):
        prepare(tmp_path)
    (tmp_path / "recordings").mkdir()
    with pytest.raises(TableError, match="no recordings in folders of speakers"):
        prepare(tmp_path)


def test_odd_names_still_make_a_valid_directory(tmp_path: Path, record) -> None:
    for name in ("müller/ä b.wav", "mül/x.wav", "a+/1.wav", "a/1.wav", "a-b/1.wav"):
        record(name)
    prepare(tmp_path)
    assert not validate(tmp_path / "out")
    assert len(DataDir.load(tmp_path / "out").utts) == 5


def test_a_name_that_wav_scp_cannot_hold_is_skipped(tmp_path: Path, record) -> None:
    record("s1/x.wav")
    record("s1 /y\n.wav")
    result = prepare(tmp_path)
    assert (result.done, result.skipped) == (1, 1)
