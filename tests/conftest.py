"""Fixtures that every test folder shares."""

from pathlib import Path

import pytest
from example_world import build_world

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of recorded speech and recorded figures beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared folder beside the repository")
    return SHARED


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the caller's shell must not steer the tests."""
    for name in ("SVTOOL_NO_PIPES", "SVTOOL_AUDIO_ROOT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the examples of every help text run."""
    root = tmp_path_factory.getbasetemp()
    if root.name.startswith("popen-"):  # pytest-xdist: the session's folder is one above
        root = root.parent
    return build_world(root / "example-world")
