"""`svtool data` through the command line."""

import json

import pytest
from typer.testing import CliRunner

from sv_cli.cli import app
from sv_cli.lock import lock_folder
from sv_cli.tables.datadir.directory import DataDir, validate


def run(*arguments, **options):
    return CliRunner().invoke(app, ["data", *map(str, arguments)], **options)


@pytest.fixture
def data(tmp_path):
    utts = [f"s{spk}-u{utt}" for spk in range(3) for utt in range(4)]
    DataDir(
        wav={utt: f"{utt}.wav" for utt in utts},
        utt2spk={utt: utt[:2] for utt in utts},
        utt2dur={utt: float(utt[-1]) + 0.5 for utt in utts},
    ).write(tmp_path / "data")
    return tmp_path / "data"


def test_validate_tells_problems_on_stdout_and_fails(data):
    assert run("validate", data).exit_code == 0
    (data / "utt2spk").write_text("b s\na s\n")
    result = run("validate", data)
    assert result.exit_code == 1
    assert "utt2spk:2`: not sorted" in result.stdout
    assert "problems" in result.stderr


def test_fix_then_validate(data):
    lines = (data / "utt2spk").read_text().splitlines()
    (data / "utt2spk").write_text("\n".join(reversed(lines)))
    assert run("fix", data).exit_code == 0
    assert run("validate", data).exit_code == 0


def test_info_as_json(data):
    result = run("info", data, "--json")
    assert json.loads(result.stdout)["utterances"] == 12
    assert "speakers" in run("info", data).stdout


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["subset", "DATA", "OUT", "-n", "5"], 5),
        (["subset", "DATA", "OUT", "--count", "2", "--how", "per-speaker"], 6),
        (["copy", "DATA", "OUT", "--spk-prefix", "x-", "--utt-prefix", "x-"], 12),
        (["filter", "DATA", "OUT", "--min-seconds", "2"], 6),
        (["filter", "DATA", "OUT", "--utts", "-"], 2),
        (["filter", "DATA", "OUT", "--utts", "-", "--exclude"], 10),
        (["combine", "DATA", "DATA", "OUT"], 12),
    ],
)
def test_new_directories(data, tmp_path, arguments, count):
    out = tmp_path / "out"
    places = {"DATA": data, "OUT": out}
    arguments = [places.get(argument, argument) for argument in arguments]
    result = run(*arguments, input="s0-u1 x\ns2-u3\n")
    assert result.exit_code == 0, result.output
    assert len(DataDir.load(out).utts) == count
    assert not validate(out)
    again = run(*arguments, input="s0-u1 x\ns2-u3\n")
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    assert run(*arguments, "--force", input="s0-u1 x\ns2-u3\n").exit_code == 0


def test_split(data):
    assert run("split", data, 3).exit_code == 0
    assert [len(DataDir.load(data / "split3" / str(i)).utts) for i in (1, 2, 3)] == [4, 4, 4]
    assert run("split", data, 3).exit_code == 1
    assert run("split", data, 4).exit_code == 1


def test_contradicting_options(data, tmp_path):
    assert run("filter", data, tmp_path / "o", "--exclude").exit_code == 2
    assert run("filter", data, tmp_path / "o", "--utts", "a", "--speakers", "b").exit_code == 2


def test_a_directory_is_written_by_one_command_at_a_time(data, tmp_path):
    for folder, line in ((data, ["fix", data]), (tmp_path / "b", ["copy", data, tmp_path / "b"])):
        with lock_folder(folder, command="data combine"):
            refused = run(*line)
        assert refused.exit_code == 1
        assert "is being written by `svtool data combine`" in refused.stderr
        assert run(*line).exit_code == 0
        assert not (folder / ".lock").exists()
