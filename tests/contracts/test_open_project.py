"""The files that an open project has: licence, changelog, templates, and the documentation site."""

import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from zipfile import ZipFile

import pytest
from example_world import REPOSITORY

from sv_cli import __version__

WEBSITE = REPOSITORY / ".ci" / "site"
SITE_FILE = (REPOSITORY / "mkdocs.yml").read_text()
PAGES = re.findall(r"^ +- [^:\n]+: (\S+\.md)$", SITE_FILE, flags=re.M)
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel of this repository, built without the network."""
    pytest.importorskip("hatchling", reason="hatchling is not installed (extra dev)")
    folder = tmp_path_factory.mktemp("wheel")
    script = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, str(folder)], cwd=REPOSITORY, check=True)
    return ZipFile(next(folder.glob("*.whl")))


def test_wheel_contains_licence_and_type_marker(wheel: ZipFile) -> None:
    info = f"svtool-{__version__}.dist-info"
    assert wheel.read(f"{info}/licenses/LICENSE") == (REPOSITORY / "LICENSE").read_bytes()
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert "License-Expression: Apache-2.0\n" in metadata
    assert "License-File: LICENSE\n" in metadata
    assert "sv_cli/py.typed" in wheel.namelist()


def test_licence_is_the_declared_one() -> None:
    text = (REPOSITORY / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"
    assert PROJECT["license-files"] == ["LICENSE"]
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_marker_of_types_is_in_the_package() -> None:
    assert (REPOSITORY / "sv_cli" / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_changelog_and_citation_have_the_version() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$", text, flags=re.M)
    names = [name for name, _ in sections]
    assert names[:2] == ["Unreleased", __version__]
    dates = [date for _, date in sections[1:]]
    assert all(later > earlier for later, earlier in pairwise(dates))
    citation = (REPOSITORY / "CITATION.cff").read_text()
    assert f"\nversion: {__version__}\ndate-released: {dates[0]}\n" in citation


def test_navigation_names_every_page_once() -> None:
    """Every page of docs/ is in the navigation once, and no entry is without a page."""
    assert not [page for page in PAGES if not (WEBSITE / page).is_file()]
    assert len(PAGES) == len(set(PAGES))
    docs = [page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")]
    assert sorted(docs) == sorted(path.name for path in (REPOSITORY / "docs").glob("*.md"))


def test_website_links_to_files_of_the_repository() -> None:
    for link in set(WEBSITE.iterdir()) - {WEBSITE / "site.css"}:
        assert link.is_symlink(), f"{link.name} is a copy"
        assert link.readlink() == Path("../..") / link.name


def test_workflow_runs_the_gate() -> None:
    workflow = (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text()
    assert re.search(r"^ +- run: \.ci/run$", workflow, flags=re.M)
    assert (REPOSITORY / ".ci" / "run").stat().st_mode & 0o100
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert f'python: ["{oldest}"' in workflow


@pytest.mark.parametrize("name", ["bug_report", "feature_request"])
def test_issue_templates_have_a_header(name: str) -> None:
    text = (REPOSITORY / ".github" / "ISSUE_TEMPLATE" / f"{name}.md").read_text()
    assert re.match(r"---\nname: .+\nabout: .+\nlabels: .+\n---\n\n\S", text)


def test_pull_request_template_names_the_gate() -> None:
    text = (REPOSITORY / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text()
    assert "`.ci/run`" in text and "`CHANGELOG.md`" in text


def test_container_copies_what_the_build_needs() -> None:
    """Each COPY of the Dockerfile is allowed by .dockerignore, which ignores all other files."""
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, flags=re.M)
        for word in line.split()
    }
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    assert {f"!{name}" for name in copied} <= set(ignored)
    assert not [name for name in copied if not (REPOSITORY / name).exists()]
