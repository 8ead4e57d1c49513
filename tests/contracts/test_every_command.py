"""Every command's help has examples that run, and says what to see next."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer.main
from example_world import enter_world, environment, run_line

from sv_cli.cli import app

pytestmark = pytest.mark.timeout(900)


def every_command() -> Iterator[tuple[str, str]]:
    """Yield (name, help) of each command and verb."""
    root = typer.main.get_command(app)
    stack = [("", root)]
    while stack:
        name, command = stack.pop()
        below = getattr(command, "commands", {})
        stack += [(f"{name} {verb}".strip(), child) for verb, child in below.items()]
        if not below:
            yield name, command.help or ""


COMMANDS = dict(sorted(every_command()))
# Commands of an extra -> the packages that their examples need.
NEEDS = {"export": ("onnx", "onnxscript", "onnxruntime")}


def examples(text: str) -> list[str]:
    """Return the command lines of a help text; a line that is indented further goes on."""
    return re.findall(r"^  \$ (.+)$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_two_examples_one_with_a_pipe_and_a_way_on(name: str) -> None:
    lines = examples(COMMANDS[name])
    assert len(lines) >= 2
    assert all("svtool" in line for line in lines)
    assert any("|" in line for line in lines)
    assert "See also: " in COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_see_also_names_commands_that_exist(name: str) -> None:
    line = COMMANDS[name].split("See also: ")[1].splitlines()[0]
    named = re.sub(r" \(.*?\)", "", line).split(", ")
    groups = {command.split()[0] for command in COMMANDS}
    assert not [other for other in named if other not in COMMANDS and other not in groups]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_run(name: str, world: Path, tmp_path: Path) -> None:
    """One after the other in one folder, as a reader would try them."""
    missing = [extra for extra in NEEDS.get(name, ()) if find_spec(extra) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} of an extra that is not installed")
    folder = enter_world(world, tmp_path)
    for line in examples(COMMANDS[name]):
        run = run_line(line, folder, environment(world))
        assert run.returncode == 0, f"$ {line}\n{run.stdout[-2000:]}\n{run.stderr[-4000:]}"
