"""3D-Speaker: device 9 left out, conditions as tables, three lists."""

from pathlib import Path

import fake_corpora
import pytest

from sv_cli.corpora.corpus import Job
from sv_cli.corpora.threed_speaker import ThreedSpeakerSettings, prepare_threed_speaker
from sv_cli.errors import TableError
from sv_cli.tables.datadir.directory import DataDir, validate
from sv_cli.tables.pairs.trials import read_trials


def prepare(source: Path, out: Path, **settings: object):
    return prepare_threed_speaker(Job(source, out, 2), ThreedSpeakerSettings(**settings))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    fake_corpora.threed_speaker(tmp_path / "3dspeaker")
    return tmp_path / "3dspeaker"


def test_train_and_test_with_their_conditions(tree: Path, tmp_path: Path) -> None:
    result = prepare(tree, tmp_path / "out")
    assert (result.done, result.skipped) == (8, 0)
    for path in result.directories:
        assert not validate(path, check_files=True)
    data = DataDir.load(tmp_path / "out/train", extra=True)
    assert data.speakers == ["3D_SPK_00001", "3D_SPK_00002"]
    first = "3D_SPK_00001_001_Device01_Distance01_Dialect00"
    tables = ("utt2device", "utt2distance", "utt2dialect")
    assert [data.extra[name][first] for name in tables] == ["01", "01", "00"]
    assert not any("Device09" in utt for utt in data.utts)
    for condition in ("device", "distance", "dialect"):
        trials = read_trials(str(tmp_path / f"out/test/trials-{condition}"), labels="required")
        assert (len(trials), int(trials.target.sum())) == (6, 2)


def test_device_9_can_be_kept(tree: Path, tmp_path: Path) -> None:
    assert prepare(tree, tmp_path / "out", keep_device09=True).done == 12


def test_names_may_end_in_wav_and_labels_be_digits(tree: Path, tmp_path: Path) -> None:
    for name in ("test_wav.scp", "test_utt2spk"):
        rows = [line.split() for line in (tree / "files" / name).read_text().splitlines()]
        fake_corpora.write(tree / "files" / name, [f"{row[0]}.wav {row[1]}" for row in rows])
    trials = tree / "files/trials_cross_device"
    lines = trials.read_text().replace("nontarget", "0").replace("target", "1")
    trials.write_text(lines)
    prepare(tree, tmp_path / "out")
    rows = (tmp_path / "out/test/trials-device").read_text().splitlines()
    assert len(rows) == 6
    assert ".wav" not in rows[0]


def test_missing_files_are_named_five_and_counted(tree: Path, tmp_path: Path, capsys) -> None:
    names = [line.split() for line in (tree / "files/train_wav.scp").read_text().splitlines()]
    more = [[f"3D_SPK_00001_00{n}_Device01_Distance01_Dialect00", "train/gone.wav"]
            for n in range(2, 9)]  # fmt: skip
    fake_corpora.write(tree / "files/train_wav.scp", map(" ".join, [*names, *more]))
    owners = (tree / "files/train_utt2spk").read_text().splitlines()
    fake_corpora.write(
        tree / "files/train_utt2spk", [*owners, *(f"{name} 3D_SPK_00001" for name, _ in more)]
    )
    for n, row in enumerate(more):
        row[1] = f"train/gone{n}.wav"
    fake_corpora.write(tree / "files/train_wav.scp", map(" ".join, [*names, *more]))
    result = prepare(tree, tmp_path / "out")
    assert (result.done, result.skipped) == (8, 7)
    said = capsys.readouterr().err
    assert said.count("gone") == 5
    assert "2 more like these, skipped" in said


def test_an_utterance_without_speaker_is_an_error(tree: Path, tmp_path: Path) -> None:
    path = tree / "files/train_utt2spk"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(TableError, match="no speaker of 1: `3D_SPK_00001_001_Device01"):
        prepare(tree, tmp_path / "out")


def test_a_line_of_three_fields_is_named(tree: Path, tmp_path: Path) -> None:
    path = tree / "files/test_wav.scp"
    path.write_text(path.read_text() + "a b c\n")
    with pytest.raises(TableError, match=r"test_wav\.scp:7`: 3 fields in wav\.scp, expected 2"):
        prepare(tree, tmp_path / "out")


def test_a_shared_speaker_is_refused(tree: Path, tmp_path: Path) -> None:
    path = tree / "files/test_utt2spk"
    path.write_text(path.read_text().replace(" 3D_SPK_00003", " 3D_SPK_00001"))
    with pytest.raises(TableError, match="1 speakers are in `train` and in `test`"):
        prepare(tree, tmp_path / "out")


def test_an_empty_folder_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no recordings of this corpus") as caught:
        prepare(tmp_path, tmp_path / "out")
    assert "files/train_wav.scp" in str(caught.value.hint)
