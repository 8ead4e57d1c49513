"""VoxCeleb1: sets by speakers, ids both ways, trial lists in our ids."""

from collections import Counter
from pathlib import Path

import fake_corpora
import pytest

from sv_cli.corpora.corpus import Job
from sv_cli.corpora.voxceleb1 import Voxceleb1Settings, is_test_speaker, prepare_voxceleb1
from sv_cli.corpora.voxceleb_files import find_clips, read_speaker_table
from sv_cli.errors import SvError, TableError
from sv_cli.tables.datadir.directory import DataDir, validate
from sv_cli.tables.pairs.trials import read_trials

LISTS = ("trials-E", "trials-E-clean", "trials-H", "trials-H-clean")


def prepare(source: Path, out: Path, force: bool = False, **settings: object):
    return prepare_voxceleb1(Job(source, out, 2, force), Voxceleb1Settings(**settings))


def trials(path: Path) -> list[list[str]]:
    return [line.split(" ") for line in path.read_text().splitlines()]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    fake_corpora.voxceleb(tmp_path / "voxceleb")
    return tmp_path / "voxceleb"


def test_dev_test_and_all_with_their_trials(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = prepare(tree, out)
    assert (result.done, result.skipped) == (8, 0)
    assert [path.name for path in result.directories] == ["dev", "test", "all"]
    for name, speakers in (
        ("dev", ["id10001", "id10002"]),
        ("test", ["id10270", "id10271"]),
        ("all", ["id10001", "id10002", "id10270", "id10271"]),
    ):
        assert not validate(out / name, check_files=True)
        data = DataDir.load(out / name)
        assert data.speakers == speakers
        assert len(data.utts) == 2 * len(speakers)
    assert (out / "dev/spk2gender").read_text() == "id10001 m\nid10002 f\n"
    assert trials(out / "test/trials-O-clean") == trials(out / "test/trials-O")
    first = "id10270-a-B_c1xyz01-00001"
    assert trials(out / "test/trials-O")[0] == [first, "id10270-a-B_c2xyz01-00002", "target"]
    for name in LISTS:
        assert Counter(row[2] for row in trials(out / "all" / name)) == {
            "target": 3,
            "nontarget": 12,
        }


def test_a_rerun_gives_the_same_bytes_and_only_with_force(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(tree, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(SvError, match="exists already"):
        prepare(tree, out)
    prepare(tree, out, force=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_ids_can_be_the_paths_of_the_lists(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "out", utt_id_style="path")
    assert not validate(tmp_path / "out/all", check_files=True)
    published = [line.split()[1:] for line in (tree / "veri_test.txt").read_text().splitlines()]
    assert [row[:2] for row in trials(tmp_path / "out/test/trials-O")] == published


def test_a_flat_tree_is_split_by_its_speakers(tree: Path, tmp_path: Path) -> None:
    merged = tmp_path / "merged/wav"
    merged.mkdir(parents=True)
    for folder in (*tree.glob("vox1/dev/wav/*"), *tree.glob("vox1/test/wav/*")):
        folder.rename(merged / folder.name)
    result = prepare(tmp_path / "merged", tmp_path / "out", lists=str(tree))
    assert [path.name for path in result.directories] == ["dev", "test", "all"]


def test_a_test_speaker_in_the_dev_folder_stays_out_of_training(
    tree: Path, tmp_path: Path, capsys
) -> None:
    (tree / "vox1/test/wav/id10270").rename(tree / "vox1/dev/wav/id10270")
    prepare(tree, tmp_path / "out")
    assert "id10270" not in DataDir.load(tmp_path / "out/dev").speakers
    assert "1 speakers lie in the folder of the other set (as `id10270`)" in capsys.readouterr().err


def test_without_lists_the_error_names_each(tree: Path, tmp_path: Path) -> None:
    for path in tree.glob("*.txt"):
        path.unlink()
    with pytest.raises(TableError, match=r"no trial lists: `veri_test\.txt`, `veri_test2") as no:
        prepare(tree, tmp_path / "out")
    assert "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/" in str(no.value.hint)
    assert "`--no-trials`" in str(no.value.hint)
    assert not (tmp_path / "out").exists()
    assert prepare(tree, tmp_path / "out", trials=False).done == 8
    assert not list((tmp_path / "out").rglob("trials-*"))


def test_one_list_of_six_is_enough(tree: Path, tmp_path: Path, capsys) -> None:
    for path in tree.glob("*.txt"):
        if path.name != "veri_test2.txt":
            path.unlink()
    assert prepare(tree, tmp_path / "out").done == 8
    assert [path.name for path in (tmp_path / "out").rglob("trials-*")] == ["trials-O-clean"]
    assert "without `veri_test.txt`, `list_test_all.txt`" in capsys.readouterr().err


def test_training_speakers_alone_need_no_lists(tree: Path, tmp_path: Path) -> None:
    result = prepare(tree / "vox1/dev", tmp_path / "out")
    assert [path.name for path in result.directories] == ["dev"]


def test_only_the_test_set_is_enough_for_its_trials(tree: Path, tmp_path: Path, capsys) -> None:
    result = prepare(tree / "vox1/test", tmp_path / "out", lists=str(tree))
    assert [path.name for path in result.directories] == ["test"]
    assert (tmp_path / "out/test/trials-O-clean").exists()
    assert "`list_test_all.txt` needs dev and test" in capsys.readouterr().err


def test_missing_recordings_of_trials_are_named_and_counted(tree: Path, tmp_path: Path) -> None:
    (tree / "vox1/test/wav/id10271/a-B_c2xyz01/00002.wav").unlink()
    with pytest.raises(TableError, match="1 recordings of 3 trials are not there") as caught:
        prepare(tree, tmp_path / "out")
    assert "`id10271/a-B_c2xyz01/00002.wav`" in caught.value.message
    assert "--allow-missing" in str(caught.value.hint)
    assert not (tmp_path / "out/test/.done").exists()
    result = prepare(tree, tmp_path / "out", allow_missing=True)
    assert (result.done, result.skipped) == (7, 2 * 3 + 4 * 5)
    assert len(trials(tmp_path / "out/test/trials-O")) == 3


def test_a_malformed_list_names_its_line(tree: Path, tmp_path: Path) -> None:
    lines = (tree / "veri_test2.txt").read_text().splitlines()
    (tree / "veri_test2.txt").write_text("\n".join([*lines[:3], "1 only-one", *lines[3:]]) + "\n")
    with pytest.raises(TableError, match=r"veri_test2\.txt:4`"):
        prepare(tree, tmp_path / "out")


def test_a_malformed_table_of_speakers_names_its_line(tmp_path: Path) -> None:
    table = fake_corpora.write(tmp_path / "m.csv", ["ID\tName\tGender\tNation\tSet", "id10001\tx"])
    with pytest.raises(TableError, match=r"m\.csv:2`: 2 columns, the header has 5"):
        read_speaker_table(table)


def test_a_video_may_have_hyphens(tmp_path: Path) -> None:
    fake_corpora.tone(tmp_path / "id10001/-a-b_c-d--1/00042.flac")
    clip = find_clips(tmp_path, "1")[0]
    assert clip.listed("kaldi", {}).utt == "id10001--a-b_c-d--1-00042"


def test_the_shared_layout(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/layouts/voxceleb"
    result = prepare(source, tmp_path / "out")
    assert (result.done, result.skipped) == (194, 0)
    for path in result.directories:
        assert not validate(path, check_files=True)
    counts = {path.name: len(DataDir.load(path).utts) for path in result.directories}
    assert counts == {"dev": 48, "test": 146, "all": 194}
    listed = {path.name: len(trials(path)) for path in (tmp_path / "out").glob("*/trials-*")}
    # The lists of 1000 lines repeat 141 and 164 pairs.
    assert listed == {
        "trials-O": 215, "trials-O-clean": 215, "trials-E-clean": 859, "trials-H-clean": 836,
    }  # fmt: skip
    assert len(read_trials(str(tmp_path / "out/test/trials-O-clean"), labels="required")) == 215


def test_the_real_table_has_the_40_speakers_of_the_test_in_one_range(shared: Path) -> None:
    speakers = read_speaker_table(shared / "data/lists/vox1_meta.csv")
    assert len(speakers) == 1251
    assert {spk for spk, row in speakers.items() if row["set"] == "test"} == {
        spk for spk in speakers if is_test_speaker(spk)
    }
