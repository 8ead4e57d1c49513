"""Fixtures that every test folder shares."""

from pathlib import Path

import pytest

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
