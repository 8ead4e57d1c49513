"""What the documentation says is what there is: generated pages, links, tutorials that run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from example_world import REPOSITORY, enter_world, environment, run_line

DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of code in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.M | re.S)


def test_page_of_commands_is_current() -> None:
    script = [sys.executable, str(DOCS / "make_commands.py")]
    env = {**environment_of_tests(), "COLUMNS": "100"}
    made = subprocess.run(script, capture_output=True, text=True, check=True, env=env)
    assert (DOCS / "commands.md").read_text() == made.stdout, "run `make docs`"


def environment_of_tests() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    files = [link for link in links if "://" not in link]
    assert not [link for link in files if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_named_exist(page: Path) -> None:
    from sv_cli.cli import COMMANDS

    known = {name.split()[0] for name, _, _ in COMMANDS}
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    called = {m for line in lines for m in re.findall(r"(?:^|[|;&] *|\$\()svtool ([a-z-]+)", line)}
    assert called <= known


@pytest.mark.timeout(900)
def test_tutorial_on_own_recordings_runs(world: Path, tmp_path: Path) -> None:
    """Block after block in one folder, on the recordings of the example world, trained shortly."""
    enter_world(world, tmp_path)
    env = environment(tmp_path)
    for block in blocks(DOCS / "tutorial-own-recordings.md", "sh"):
        done = run_line(block, tmp_path, env)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
    assert (tmp_path / "mine" / "scores").stat().st_size
