"""A model, recordings that come in, and an enrolled set."""

import shutil
from pathlib import Path

import pytest
from survival_jobs import make_inputs


@pytest.fixture(scope="session")
def job_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("job") / "inputs")


@pytest.fixture
def night(job_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a job of one process, and twelve recordings of which none is there yet."""
    for name in ("enrolled", "data"):
        shutil.copytree(job_inputs / name, tmp_path / name)
    shutil.copy(job_inputs / "model.pt", tmp_path)
    shutil.copy(job_inputs / "job.toml", tmp_path)
    (tmp_path / "later").mkdir()
    (tmp_path / "incoming").mkdir()
    for path in sorted((job_inputs / "incoming").iterdir())[:12]:
        shutil.copy(path, tmp_path / "later")
    monkeypatch.chdir(tmp_path)
    return tmp_path
