"""`svtool demo`: the chain as data, what is skipped, and what is said when a step fails."""

import json
import re
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from sv_cli.cli import app
from sv_cli.commands import demo as demo_command
from sv_cli.commands.demo_steps import LDA_DIM, TOP_N, TRAINING, demo_steps
from sv_cli.corpora.demo import SIZES


@pytest.mark.parametrize("size", list(SIZES))
def test_every_step_is_a_line_that_svtool_can_parse(size: str) -> None:
    root = typer.main.get_command(app)
    for step in demo_steps(size, 2, 0):
        command, words = root, list(step.argv)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_parser(command.make_context("x", [], resilient_parsing=True))
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        used = {word for word in words if word.startswith("--")}
        assert used <= options
        assert "--force" in options or "--resume" in options or step.prints
        assert not step.resumable or "--resume" in options


def test_each_size_has_its_settings_and_no_step_comes_twice() -> None:
    assert set(TRAINING) == set(TOP_N) == set(LDA_DIM) == set(SIZES)
    lines = [" ".join(step.argv) for step in demo_steps("default", 2, 0)]
    assert len(set(lines)) == len(lines)
    assert sum(step.prints for step in demo_steps("default", 2, 0)) == 1


def test_each_step_makes_new_files_from_those_of_earlier_steps() -> None:
    made: set[str] = set()
    for step in demo_steps("default", 2, 0):
        paths = {w for w in step.argv if re.match(r"(emb|exp|scores|qmf|plda|calibration)/", w)}
        num_new = {"prepare": 0, "make-fbank": 0, "asnorm": 2, "eval": 0}.get(step.argv[0], 1)
        assert len(paths - made) == num_new, step.title
        made |= paths


class FakeProcess:
    """A step that succeeds or fails at once."""

    lines: list[str] = []  # noqa: RUF012
    fails = ""

    def __init__(self, command: list[str], **_: object) -> None:
        self.line = " ".join(command[3:])
        FakeProcess.lines.append(self.line)

    def wait(self) -> int:
        return 3 if FakeProcess.fails and self.line.startswith(FakeProcess.fails) else 0


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> type[FakeProcess]:
    FakeProcess.lines, FakeProcess.fails = [], ""
    monkeypatch.setattr(demo_command.subprocess, "Popen", FakeProcess)
    return FakeProcess


def demo(*arguments: object):
    return CliRunner().invoke(app, ["demo", *[str(argument) for argument in arguments]])


def test_steps_are_shown_as_typed_and_a_failure_is_resumed(tmp_path: Path, processes) -> None:
    processes.fails = "score"
    result = demo(tmp_path / "d", "--size", "tiny", "--num-procs", 1)
    assert result.exit_code == 1
    assert "$ svtool prepare demo data --size tiny --seed 0" in result.stderr
    assert "`svtool score` ended with status 3" in result.stderr
    assert "hint: go on from here with `--resume`" in result.stderr
    num_done = len(json.loads((tmp_path / "d/.demo.json").read_text()))
    assert num_done == len(processes.lines) - 1

    assert demo(tmp_path / "d", "--size", "tiny").exit_code == 1
    processes.fails, processes.lines = "", []
    result = demo(tmp_path / "d", "--size", "tiny", "--num-procs", 1, "--resume")
    assert result.exit_code == 0
    assert processes.lines[0].startswith("score")
    assert processes.lines[0].endswith("--force")
    assert len(processes.lines) == len(demo_steps("tiny", 1, 0)) - num_done


def test_force_does_all_again(tmp_path: Path, processes) -> None:
    assert demo(tmp_path, "--size", "tiny").exit_code == 0
    processes.lines = []
    assert demo(tmp_path, "--size", "tiny", "--force").exit_code == 0
    assert len(processes.lines) == len(demo_steps("tiny", 1, 0))
    assert all(line.endswith("--force") for line in processes.lines)


def test_an_interrupted_step_is_ended_first(tmp_path: Path, monkeypatch) -> None:
    ended = []

    class Interrupted(FakeProcess):
        def wait(self) -> int:
            if not ended:
                raise KeyboardInterrupt
            return 130

        def terminate(self) -> None:
            ended.append(self.line)

    monkeypatch.setattr(demo_command.subprocess, "Popen", Interrupted)
    assert demo(tmp_path, "--size", "tiny").exit_code == 130
    assert len(ended) == 1
