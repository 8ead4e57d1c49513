"""`svtool prepare`: flags, exit statuses, and the synthetic corpus as a user gets it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sv_cli.cli import app
from sv_cli.corpora.registry import CORPORA
from sv_cli.tables.datadir.directory import DataDir, validate


def svtool(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_tone(path: Path, seconds: float = 0.1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(int(seconds * 16000)) * 0.1), 16000)


def test_the_list_tells_name_licence_and_origin() -> None:
    result = svtool("prepare", "--list")
    assert result.exit_code == 0
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[0] for row in rows] == list(CORPORA)
    assert {len(row) for row in rows} == {4}


def test_without_a_corpus_the_help_is_shown() -> None:
    result = svtool("prepare")
    assert result.exit_code == 2
    assert "folder" in result.output


@pytest.mark.parametrize("name", list(CORPORA))
def test_each_corpus_has_help_with_examples(name: str) -> None:
    result = svtool("prepare", name, "--help")
    assert result.exit_code == 0
    assert result.stdout.count("$ svtool") >= 2
    assert "See also" in result.stdout
    assert "Licence" in result.stdout


def test_a_folder_with_a_broken_file_ends_with_status_3(tmp_path: Path) -> None:
    write_tone(tmp_path / "rec/s1/a.wav")
    (tmp_path / "rec/s1/b.wav").write_text("no sound")
    result = svtool("prepare", "folder", tmp_path / "rec", tmp_path / "out")
    assert result.exit_code == 3
    last = result.stderr.splitlines()[-1]
    assert last.endswith(f"wrote 1 utterances to `{tmp_path}/out`, skipped 1")
    result = svtool(
        "prepare", "folder", tmp_path / "rec", tmp_path / "out", "--force", "--max-skipped", 1
    )
    assert result.exit_code == 0


def test_an_existing_directory_is_refused(tmp_path: Path) -> None:
    write_tone(tmp_path / "rec/s1/a.wav")
    assert svtool("prepare", "folder", tmp_path / "rec", tmp_path / "out").exit_code == 0
    result = svtool("prepare", "folder", tmp_path / "rec", tmp_path / "out")
    assert result.exit_code == 1
    assert "hint: use `--force`" in result.stderr


def test_a_missing_column_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("file,who\na.wav,b\n")
    result = svtool("prepare", "csv", tmp_path / "x.csv", tmp_path / "out")
    assert result.exit_code == 1
    assert "no column `path`; there are `file`, `who`" in result.stderr
    assert not (tmp_path / "out").exists()


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(
            path.read_bytes().replace(str(folder).encode(), b"")
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_demo_is_the_same_for_the_same_seed_and_any_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sv_cli.corpora.demo_build._WORTH_A_PROCESS", 10)
    for name, seed, procs in (("a", 1, 1), ("b", 1, 2), ("c", 2, 1)):
        result = svtool(
            "prepare", "demo", tmp_path / name, "--size", "tiny", "--seed", seed,
            "--num-procs", procs,
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        assert "wrote 92 utterances" in result.stderr
    prints = {name: fingerprint(tmp_path / name) for name in "abc"}
    assert prints["a"] == prints["b"]
    assert prints["a"].keys() == prints["c"].keys()
    audio = [name for name in prints["a"] if name.endswith(".wav")]
    assert len(audio) == 92
    assert not any(prints["a"][name] == prints["c"][name] for name in audio)
    check_parts(tmp_path / "a")


def check_parts(folder: Path) -> None:
    speakers: set[str] = set()
    for name in ("train", "cohort", "dev", "eval"):
        assert not validate(folder / name)
        data = DataDir.load(folder / name)
        assert not speakers & set(data.spk2utt)
        speakers |= set(data.spk2utt)
        assert (folder / name / "spk2gender").exists()
        assert (folder / name / "trials").exists() == (name in ("dev", "eval"))
    lines = [line.split() for line in (folder / "eval/trials").read_text().splitlines()]
    conditions = [line.split() for line in (folder / "eval/trials.cond").read_text().splitlines()]
    assert [row[:2] for row in lines] == [row[:2] for row in conditions]
    assert {row[2] for row in lines} == {"target", "nontarget"}
    for (enroll, test, label), (*_, condition) in zip(lines, conditions, strict=True):
        assert enroll != test
        assert (enroll[:5] == test[:5]) == (label == "target") == (condition == "target")


def test_the_demo_can_be_flac(tmp_path: Path) -> None:
    result = svtool("prepare", "demo", tmp_path / "d", "--size", "tiny", "--format", "flac")
    assert result.exit_code == 0
    assert len(list((tmp_path / "d/audio").rglob("*.flac"))) == 92
