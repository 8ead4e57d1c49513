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


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests of a GPU are skipped where there is none."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


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
