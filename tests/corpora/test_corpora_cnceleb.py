"""CN-Celeb: both parts, both protocols of enrolment, short utterances joined."""

from pathlib import Path

import fake_corpora
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sv_cli.corpora.cnceleb import CncelebSettings, prepare_cnceleb, read_models
from sv_cli.corpora.combining import group_short
from sv_cli.corpora.corpus import Job
from sv_cli.corpora.listing import Listed
from sv_cli.errors import TableError
from sv_cli.tables.datadir.directory import DataDir, validate
from sv_cli.tables.text import read_spk2utt


def prepare(source: Path, out: Path, **settings: object):
    return prepare_cnceleb(Job(source, out, 2), CncelebSettings(**settings))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    fake_corpora.cnceleb(tmp_path / "cnceleb")
    return tmp_path / "cnceleb"


def test_train_and_eval_share_no_speaker(tree: Path, tmp_path: Path) -> None:
    result = prepare(tree, tmp_path / "out")
    assert (result.done, result.skipped) == (24 + 8, 0)
    train, evaluation = (DataDir.load(tmp_path / "out" / name) for name in ("train", "eval"))
    assert train.speakers == ["id00010", "id00011", "id10003", "id10004"]
    assert evaluation.speakers == ["id00800", "id00801"]
    for path in result.directories:
        assert not validate(path, check_files=True)
    genres = (tmp_path / "out/train/utt2genre").read_text().splitlines()
    assert genres[0] == "id00010-singing-01-001 singing"
    assert len(genres) == 24


def test_trials_fit_both_protocols(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "out")
    folder = tmp_path / "out/eval"
    assert (folder / "trials").read_text().splitlines()[:2] == [
        "id00800-enroll id00800-singing-01-005 target",
        "id00800-enroll id00801-singing-01-005 nontarget",
    ]
    models = read_spk2utt(str(folder / "enroll_spk2utt"))
    assert models["id00801-enroll"] == ["id00801-drama-01-001", "id00801-drama-01-002"]
    utts = set(DataDir.load(folder).utts)
    assert set(models) <= utts  # joined
    assert {utt for parts in models.values() for utt in parts} <= utts  # averaged


def test_one_part_alone(tree: Path, tmp_path: Path) -> None:
    assert prepare(tree / "CN-Celeb2_flac", tmp_path / "two").done == 12
    assert not (tmp_path / "two/eval").exists()
    result = prepare(tree / "CN-Celeb_flac", tmp_path / "one")
    assert sorted(path.name for path in result.directories) == ["eval", "train"]


def test_without_lists_speakers_go_by_number(tree: Path, tmp_path: Path, capsys) -> None:
    (tree / "CN-Celeb_flac/dev/dev.lst").unlink()
    prepare(tree, tmp_path / "out")
    assert "its training speakers go by number" in capsys.readouterr().err
    assert len(DataDir.load(tmp_path / "out/train").speakers) == 4


def test_a_speaker_in_training_and_trials_is_refused(tree: Path, tmp_path: Path) -> None:
    fake_corpora.write(tree / "CN-Celeb_flac/dev/dev.lst", ["id00010", "id00800"])
    with pytest.raises(TableError, match="1 speakers are in `train` and in `eval`: `id00800`"):
        prepare(tree, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_tests_are_counted(tree: Path, tmp_path: Path) -> None:
    (tree / "CN-Celeb_flac/eval/test/id00801-singing-01-005.flac").unlink()
    with pytest.raises(TableError, match="1 recordings of 2 trials"):
        prepare(tree, tmp_path / "out")
    result = prepare(tree, tmp_path / "out", allow_missing=True)
    assert (result.done, result.skipped) == (31, 2)


def test_a_map_without_recordings_names_its_line(tmp_path: Path) -> None:
    path = fake_corpora.write(tmp_path / "enroll.map", ["a-enroll a/x.wav", "b-enroll"])
    with pytest.raises(TableError, match=r"enroll\.map:2`"):
        read_models(path)


def test_short_utterances_are_joined_sample_by_sample(tree: Path, tmp_path: Path) -> None:
    result = prepare(tree, tmp_path / "out", combine_short=0.25)
    train = DataDir.load(tmp_path / "out/train")
    assert train.utts[:2] == ["id00010-singing-01-001-comb2", "id00010-singing-01-003"]
    assert result.done == 16 + 8
    assert not validate(tmp_path / "out/train", check_files=True)
    joined = soundfile.read(train.wav[train.utts[0]], dtype="int16")[0]
    folder = tree / "CN-Celeb_flac/data/id00010"
    parts = [soundfile.read(folder / f"singing-01-00{n}.flac", dtype="int16")[0] for n in (1, 2)]
    assert np.array_equal(joined, np.concatenate(parts))
    assert train.utt2dur[train.utts[0]] == pytest.approx(0.3)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    prepare_cnceleb(Job(tree, tmp_path / "out", 1, True), CncelebSettings(combine_short=0.25))
    assert {path: path.read_bytes() for path in before} == before


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["s1", "s2"]),
            st.sampled_from(["drama", "play"]),
            st.floats(0.1, 8.0, allow_nan=False),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_groups_hold_each_utterance_once_and_never_mix(rows: list[tuple[str, str, float]]) -> None:
    items = [
        Listed(f"{spk}-{genre}-{n:03d}", spk, Path("x"), columns={"genre": genre})
        for n, (spk, genre, _) in enumerate(rows)
    ]
    seconds = {item.utt: row[2] for item, row in zip(items, rows, strict=True)}
    groups = group_short(items, seconds, 5.0)
    utts = [item.utt for group in groups for item in group]
    assert sorted(utts) == sorted(item.utt for item in items)
    short_left: dict[tuple[str, str], int] = {}
    for group in groups:
        owners = {(item.spk, item.columns["genre"]) for item in group}
        assert len(owners) == 1
        if len(group) > 1:
            assert all(seconds[item.utt] < 5.0 for item in group)
        if sum(seconds[item.utt] for item in group) < 5.0:
            owner = owners.pop()
            short_left[owner] = short_left.get(owner, 0) + 1
    assert set(short_left.values()) <= {1}


def test_the_shared_layout(shared: Path, tmp_path: Path) -> None:
    result = prepare(shared / "data/layouts/cnceleb", tmp_path / "out")
    assert (result.done, result.skipped) == (78 + 40, 0)
    for path in result.directories:
        assert not validate(path, check_files=True)
    lines = (tmp_path / "out/eval/trials").read_text().splitlines()
    assert (len(lines), sum(line.endswith(" target") for line in lines)) == (112, 28)
    assert len(read_spk2utt(str(tmp_path / "out/eval/enroll_spk2utt"))) == 4
